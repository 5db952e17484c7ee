package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudoterminal.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return screen, tty
}

// TestTerminalThatGoesAway ends the program, and not one that was started with nohup.
func TestTerminalThatGoesAway(t *testing.T) {
	for name, tt := range map[string]struct{ before, then string }{
		"plain": {"", "msg=stopped"},
		"nohup": {"trap '' HUP; ", "configuration reloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.before == "" && signal.Ignored(syscall.SIGHUP) {
				t.Skip("the tests were started with nohup, and so would the program be")
			}
			screen, tty := openTerminal(t)
			p := &process{cmd: program(t, "-c", writeConfig(t))}
			shell := []string{"sh", "-c", tt.before + `exec "$0" "$@"`, p.cmd.Path}
			p.cmd.Args = append(shell, p.cmd.Args[1:]...)
			p.cmd.Path = "/bin/sh"
			p.cmd.Stdin = tty
			p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			p.run(t)
			p.wait(t, "msg=listening")
			_ = tty.Close()
			_ = screen.Close()
			p.wait(t, tt.then)
		})
	}
}
