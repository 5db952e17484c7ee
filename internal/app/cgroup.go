package app

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// groupMemory returns how many bytes the control group of this process may have, or one that it is in; the
// least counts. It is 0 where no limit is set, or none can be found: only version 2 is looked at. root is the
// root of the file system.
func groupMemory(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	var group string
	for line := range strings.Lines(string(groups)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			group = name
		}
	}
	least := int64(0)
	for at := path.Join("/", group); group != ""; at = path.Dir(at) {
		if n := memoryMax(root, at); n > 0 && (least == 0 || n < least) {
			least = n
		}
		if at == "/" {
			break
		}
	}
	return least
}

// memoryMax reads the limit of one group.
func memoryMax(root fs.FS, group string) int64 {
	text, err := fs.ReadFile(root, path.Join("sys/fs/cgroup", group, "memory.max"))
	if err != nil {
		return 0 // the root of all groups has none
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0 // "max"
	}
	return n
}
