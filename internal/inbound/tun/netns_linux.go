//go:build !unit

package tun

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaceDir is where ip-netns(8) keeps the names of namespaces.
const namespaceDir = "/run/netns"

// namespaceError says why a network namespace could not be entered.
type namespaceError struct {
	name string
	err  error
}

func (e *namespaceError) Error() string {
	return fmt.Sprintf("enter network namespace %s: %v", e.name, e.err)
}
func (e *namespaceError) Unwrap() error { return e.err }

// inNamespace calls do on a thread of the network namespace. Only that thread ever is there: what do opens
// keeps the namespace, and the rest of the program stays where it was.
func inNamespace(name string, do func() error) error {
	path := name
	if !strings.ContainsRune(name, '/') {
		path = filepath.Join(namespaceDir, name)
	}
	there, err := os.Open(path)
	if err != nil {
		return &namespaceError{name, err}
	}
	defer there.Close()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and takes the namespace along.
		runtime.LockOSThread()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- &namespaceError{name, os.NewSyscallError("setns", err)}
			return
		}
		done <- do()
	}()
	return <-done
}
