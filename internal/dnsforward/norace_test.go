//go:build !race

package dnsforward

// scaleDown divides nothing without the race detector.
const scaleDown = 1
