//go:build !linux

package app

// openFiles is not known here.
func openFiles() (limit uint64, known bool) { return 0, false }

// mayOpen is not known here, so it is taken for allowed.
func mayOpen(int) bool { return true }

func mayWrite(string) bool { return true }
