//go:build !race

package smtpwire

const raceEnabled = false
