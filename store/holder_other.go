//go:build !linux

package store

import "os"

// holder would name the process that holds the lock of a file.
func holder(string) string { return "" }

// abandon closes a file that bbolt gave up in the middle of opening it.
func abandon(file *os.File) { file.Close() }
