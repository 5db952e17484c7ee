//go:build race

package tun

// scaleDown divides the size of the tests that are about size: the race detector makes all ten times slower.
const scaleDown = 10
