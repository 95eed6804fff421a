//go:build race

package proxy

// raceDetector: memory and time are not what they are without it.
const raceDetector = true
