//go:build unix

package config

import (
	"os"
	"syscall"
)

// OthersCanRead reports whether users other than the owner of the file at path can read it. Where we are not
// its owner, its group is how we are let in: systemd, Docker and Kubernetes hand out secrets that way.
func OthersCanRead(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	const group, others = 0o040, 0o004
	who := os.FileMode(group | others)
	if file, ok := info.Sys().(*syscall.Stat_t); ok && int64(file.Uid) != int64(os.Geteuid()) {
		who = others
	}
	return info.Mode().IsRegular() && info.Mode().Perm()&who != 0, nil
}
