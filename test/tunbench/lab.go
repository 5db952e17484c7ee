//go:build linux && !unit

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lab is the machine and the internet, as namespaces that end with the process.
type lab struct{ machine, internet *os.File }

func newLab(ctx context.Context) (*lab, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("needs root")
	}
	l := new(lab)
	for _, file := range []**os.File{&l.machine, &l.internet} {
		var err error
		if *file, err = newNamespace(); err != nil {
			return nil, err
		}
		if err := l.ip(ctx, *file, "link set lo up"); err != nil {
			return nil, err
		}
	}
	peer := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.internet.Fd())
	return l, errors.Join(
		l.ip(ctx, l.machine, "link add up0 type veth peer name up0 netns "+peer),
		l.ip(ctx, l.machine, "addr add "+machineHost+"/24 dev up0"),
		l.ip(ctx, l.machine, "link set up0 up"),
		l.ip(ctx, l.internet, "addr add "+serverHost+"/24 dev up0"),
		l.ip(ctx, l.internet, "link set up0 up"),
	)
}

// newNamespace makes a network namespace that lives as long as the file is open.
func newNamespace() (file *os.File, err error) {
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			file, err = os.Open("/proc/thread-self/ns/net")
		}
	})
	return file, err
}

// onThread runs f on a thread that ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// start starts cmd in a namespace.
func start(namespace *os.File, cmd *exec.Cmd) (err error) {
	onThread(func() {
		if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err == nil {
			err = cmd.Start()
		}
	})
	return err
}

func (l *lab) ip(ctx context.Context, namespace *os.File, args string) error {
	return l.command(ctx, namespace, "", "ip", strings.Fields(args)...)
}

func (l *lab) command(ctx context.Context, namespace *os.File, input, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Stderr = os.Stderr
	if err := start(namespace, cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

// child is a process of this program in another role.
type child struct {
	cmd   *exec.Cmd
	input io.Closer
	lines *bufio.Scanner
}

func (l *lab) start(ctx context.Context, namespace *os.File, args ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(namespace, cmd); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, input: input, lines: bufio.NewScanner(output)}, nil
}

// line returns the next line that the child prints.
func (c *child) line() (string, error) {
	if !c.lines.Scan() {
		return "", fmt.Errorf("child ended early: %w", errors.Join(c.lines.Err(), c.cmd.Wait()))
	}
	return c.lines.Text(), nil
}

// stop ends the child and waits for it.
func (c *child) stop() {
	_ = c.input.Close()
	_ = c.cmd.Process.Signal(os.Interrupt)
	_ = c.cmd.Wait()
}

// processorTime is what the child has used so far, in seconds.
func (c *child) processorTime() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest) // from the third on
	if len(fields) < 13 {
		return 0, errors.New("unexpected /proc/PID/stat")
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	const ticks = 100 // USER_HZ, on every architecture that Go runs on
	return (user + system) / ticks, errors.Join(err1, err2)
}

// residentAfterGC is the memory of the child in KiB.
func (c *child) residentAfterGC() (float64, error) {
	if err := c.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return 0, err
	}
	pause(settle)
	return c.status("RssAnon:")
}

// wakeups is how often the threads of the child gave up the processor of their own accord.
func (c *child) wakeups() (total float64, err error) {
	folder := fmt.Sprintf("/proc/%d/task", c.cmd.Process.Pid)
	threads, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		n, err := statusField(folder+"/"+thread.Name()+"/status", "voluntary_ctxt_switches:")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func (c *child) status(field string) (float64, error) {
	return statusField(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid), field)
}

func statusField(path, field string) (float64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, errors.New("no " + field + " in " + path)
}
