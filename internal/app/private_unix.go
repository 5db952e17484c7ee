//go:build unix

package app

import "syscall"

// privately runs f while new files are their owner's alone.
func privately(f func()) {
	const others = 0o177
	before := syscall.Umask(others)
	defer syscall.Umask(before)
	f()
}
