package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// errNoGroup says that this machine lets us make no control group with a limit of memory.
var errNoGroup = errors.New("no control group with a limit of memory can be made here")

// group is a control group with a limit of memory.
type group struct {
	folder string
	files  groupFiles
}

// groupFiles are what the two versions call the same.
type groupFiles struct{ limit, swap, usage, peak, events string }

var (
	filesV1 = groupFiles{
		limit: "memory.limit_in_bytes", swap: "memory.memsw.limit_in_bytes", usage: "memory.usage_in_bytes",
		peak: "memory.max_usage_in_bytes", events: "memory.oom_control",
	}
	filesV2 = groupFiles{
		limit: "memory.max", swap: "memory.swap.max", usage: "memory.current",
		peak: "memory.peak", events: "memory.events",
	}
)

// newGroup makes a group below the one that we are in. The caller removes it.
func newGroup(limit int64) (*group, error) {
	parent, files, err := ownGroup()
	if err != nil {
		return nil, errors.Join(errNoGroup, err)
	}
	if files == filesV2 { // fails where it is on already, or may not be
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	folder, err := os.MkdirTemp(parent, "outline-bench-")
	if err != nil {
		return nil, errors.Join(errNoGroup, err)
	}
	g := &group{folder, files}
	if err := g.write(files.limit, limit); err != nil {
		g.remove()
		return nil, errors.Join(errNoGroup, err)
	}
	swap := limit // version 1 counts memory and swap together
	if files == filesV2 {
		swap = 0
	}
	_ = g.write(files.swap, swap) // which a kernel without swap does not have
	return g, nil
}

// ownGroup finds the group that we are in, in the version that looks after memory.
func ownGroup() (folder string, files groupFiles, err error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", files, err
	}
	err = errors.New("not in a group")
	for line := range strings.Lines(string(text)) { // "4:memory:/some/group" or "0::/some/group"
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		if slices.Contains(strings.Split(fields[1], ","), "memory") {
			return filepath.Join("/sys/fs/cgroup/memory", fields[2]), filesV1, nil
		}
		if fields[1] == "" {
			folder, files, err = filepath.Join("/sys/fs/cgroup", fields[2]), filesV2, nil
		}
	}
	return folder, files, err
}

func (g *group) write(file string, n int64) error {
	return os.WriteFile(filepath.Join(g.folder, file), strconv.AppendInt(nil, n, 10), 0)
}

// enter runs a program in the group from its first instruction on. The program is copied there, so that its
// text counts for the group, as on a machine that has started it for the first time.
const enter = `set -e; echo $$ >"$0"; cp "$1" "$1.inside"; own=$1.inside; shift; exec "$own" "$@"`

// inside is a command that runs in the group; nil is no group.
func (g *group) inside(command ...string) []string {
	if g == nil {
		return command
	}
	return append([]string{"sh", "-c", enter, filepath.Join(g.folder, "cgroup.procs")}, command...)
}

// use returns the MiB in use now, and the most so far.
func (g *group) use() (now, most float64, err error) {
	if now, err = g.mib(g.files.usage); err != nil {
		return 0, 0, err
	}
	most, err = g.mib(g.files.peak)
	return now, most, err
}

func (g *group) mib(file string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(g.folder, file))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return float64(n) / (1 << 20), err
}

// kills is how many processes the kernel has killed for memory.
func (g *group) kills() (int, error) {
	text, err := os.ReadFile(filepath.Join(g.folder, g.files.events))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, found := strings.CutPrefix(line, "oom_kill "); found {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, fmt.Errorf("%s does not tell", g.files.events)
}

// remove removes the group, in which no process may be left.
func (g *group) remove() { _ = os.Remove(g.folder) }
