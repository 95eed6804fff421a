//go:build race

package app

// raceDetector: memory and time are not what they are without it.
const raceDetector = true
