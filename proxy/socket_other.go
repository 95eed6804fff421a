//go:build !linux

package proxy

import (
	"errors"
	"syscall"
)

func marked(uint32) func(string, string, syscall.RawConn) error { return nil }

func transparent(uint32) func(string, string, syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return errNotLinux }
}

var errNotLinux = errors.New("Linux alone can do this")

// MayMark says that nobody may.
func MayMark(uint32) error { return errNotLinux }

// MayBeTransparent says that nobody may.
func MayBeTransparent() error { return errNotLinux }

// Transparent says that no listener can be.
func Transparent(syscall.Conn) error { return errNotLinux }
