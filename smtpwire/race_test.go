//go:build race

package smtpwire

// raceEnabled: under the race detector sync.Pool drops blocks at random, so
// that allocations say nothing.
const raceEnabled = true
