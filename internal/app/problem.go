package app

import (
	"errors"
	"fmt"
)

// Problem is an error that an operator can mend, and how.
type Problem struct {
	Err  error
	Hint string // sentences for the operator; several lines are allowed
}

// Error says what is wrong, without the hint.
func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns Err.
func (p *Problem) Unwrap() error { return p.Err }

// Hint returns what to do about an error, or nothing.
func Hint(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Hint
	}
	return ""
}

// Errors returns what errors.Join has joined, else err alone.
func Errors(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, Errors(e)...)
		}
		return all
	}
	return []error{err}
}

// UsageError is a mistake in how a command was called.
type UsageError struct{ Err error }

// Error is that of Err.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *UsageError) Unwrap() error { return e.Err }

// misuse is a problem with how a command was called.
func misuse(hint, format string, args ...any) error {
	return &UsageError{problem(hint, format, args...)}
}

func problem(hint, format string, args ...any) error {
	return &Problem{Err: fmt.Errorf(format, args...), Hint: hint}
}
