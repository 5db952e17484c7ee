//go:build !race

package tun

// scaleDown divides nothing without the race detector.
const scaleDown = 1
