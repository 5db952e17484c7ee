package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstSocket is the descriptor of the first socket that was passed: SD_LISTEN_FDS_START.
	firstSocket = 3
	// maxSockets bounds them; a unit has one for each ListenStream.
	maxSockets = 64
	// tellTimeout is how long the service manager may take to make room for a message.
	tellTimeout = time.Second
)

// OpenService finds the service manager in the environment, as sd_notify(3), sd_watchdog_enabled(3) and
// sd_listen_fds(3) define it. It must be called once: it takes the sockets.
func OpenService() (Service, error) {
	var s Service
	var errs [3]error
	s.tell, errs[0] = notifier(os.Getenv("NOTIFY_SOCKET"))
	s.watchdog, errs[1] = watchdogTime(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"))
	s.listeners, errs[2] = inherited(os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"))
	return s, errors.Join(errs[:]...)
}

// notifier sends messages to the socket with that name; a name that begins with @ is no file.
func notifier(name string) (func(state string) error, error) {
	switch {
	case name == "":
		return nil, nil
	case !filepath.IsAbs(name) && !strings.HasPrefix(name, "@"):
		return nil, errors.New("NOTIFY_SOCKET: want an absolute path, or a name that begins with @")
	}
	addr := &net.UnixAddr{Name: name, Net: "unixgram"}
	return func(state string) error {
		conn, err := net.DialUnix(addr.Net, nil, addr)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // the message has left, or not
		if err := conn.SetWriteDeadline(time.Now().Add(tellTimeout)); err != nil {
			return err
		}
		_, err = conn.Write([]byte(state))
		return err
	}, nil
}

// watchdogTime is how often a sign of life is due; 0 when none is, or another process is to give it.
func watchdogTime(usec, pid string) (time.Duration, error) {
	if usec == "" {
		return 0, nil
	}
	if pid != "" {
		if mine, err := isOurs("WATCHDOG_PID", pid); err != nil || !mine {
			return 0, err
		}
	}
	const most = 1 << 50 // 35 years
	n, err := strconv.ParseUint(usec, 10, 64)
	if err != nil || n == 0 || n > most {
		return 0, errors.New("WATCHDOG_USEC: want a number of microseconds")
	}
	return time.Duration(n) * time.Microsecond, nil
}

// isOurs reports whether pid is this process. name is that of the variable that says it.
func isOurs(name, pid string) (bool, error) {
	n, err := strconv.ParseUint(pid, 10, 31)
	if err != nil || n == 0 {
		return false, fmt.Errorf("%s: want a process id", name)
	}
	return int(n) == os.Getpid(), nil
}

// inherited takes the sockets that this process was started with. What another process was to get is left
// alone.
func inherited(count, pid string) (map[string]net.Listener, error) {
	if pid == "" {
		return nil, nil
	}
	if mine, err := isOurs("LISTEN_PID", pid); err != nil || !mine {
		return nil, err
	}
	n, err := strconv.ParseUint(count, 10, 16)
	if err != nil || n > maxSockets {
		return nil, fmt.Errorf("LISTEN_FDS: want a number between 0 and %d", maxSockets)
	}
	listeners := make(map[string]net.Listener, n)
	for fd := firstSocket; fd < firstSocket+int(n); fd++ {
		l, err := takeListener(fd)
		if err != nil {
			return nil, fmt.Errorf("socket of the service manager with descriptor %d: %w", fd, err)
		}
		addr := l.Addr().String()
		if listeners[addr] != nil {
			return nil, fmt.Errorf("two sockets of the service manager at %s", addr)
		}
		listeners[addr] = l
	}
	return listeners, nil
}

// takeListener makes a descriptor that was inherited ours alone.
func takeListener(fd int) (*net.TCPListener, error) {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is it a socket? %w", err)
	case listening == 0:
		return nil, errors.New("does not listen; want ListenStream= and Accept=no")
	}
	unix.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = file.Close() }() // the listener has a copy
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("want TCP, got %s", l.Addr().Network())
	}
	return tcp, nil
}

// monotonic is the clock of MONOTONIC_USEC.
func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // every kernel has this clock
	}
	return time.Duration(now.Nano())
}
