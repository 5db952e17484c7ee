//go:build !unix

package config

// OthersCanRead reports false: the mode bits of a file say nothing on this system.
func OthersCanRead(string) (bool, error) { return false, nil }
