//go:build !race

package proxy

// raceDetector: memory and time are not what they are with it.
const raceDetector = false
