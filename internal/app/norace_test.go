//go:build !race

package app

// raceDetector: memory and time are not what they are with it.
const raceDetector = false
