//go:build unix

package config

import "os"

// OthersCanRead reports whether users other than the owner of the file at path can read it.
func OthersCanRead(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	const groupAndOthers = 0o044
	return info.Mode().IsRegular() && info.Mode().Perm()&groupAndOthers != 0, nil
}
