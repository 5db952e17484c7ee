package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestNotifierSpeaksToFilesAndNames(t *testing.T) {
	for _, name := range []string{
		filepath.Join(t.TempDir(), "notify"), "@outline-cli-ws-test-" + strconv.Itoa(os.Getpid()),
	} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		tell, err := notifier(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tell("READY=1\nSTATUS=serving"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := l.Read(buf)
		if got := string(buf[:n]); got != "READY=1\nSTATUS=serving" || err != nil {
			t.Errorf("%s got %q, %v", name, got, err)
		}
	}
}

func TestNotifierSaysWhatIsWrong(t *testing.T) {
	for _, name := range []string{"relative", "vsock:2:1234"} {
		if tell, err := notifier(name); tell != nil || err == nil {
			t.Errorf("notifier(%q) = %v, want an error", name, err)
		}
	}
	if tell, err := notifier(""); tell != nil || err != nil {
		t.Errorf("notifier of nothing = %v", err)
	}
	tell, err := notifier(filepath.Join(t.TempDir(), "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	book := newLogbook()
	a := &App{log: book.logger(), service: Service{tell: tell}}
	a.say("READY=1", "STATUS=serving")
	book.wait(t, "service manager not told", "READY=1", "nobody")
}

func TestWatchdogTime(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
		ok        bool
	}{
		{"", "", 0, true},
		{"30000000", "", 30 * time.Second, true},
		{"30000000", me, 30 * time.Second, true},
		{"30000000", "1", 0, true},
		{"0", me, 0, false},
		{"-1", me, 0, false},
		{"30s", me, 0, false},
		{"99999999999999999999", me, 0, false},
		{"9999999999999999999", me, 0, false},
		{"30000000", "me", 0, false},
		{"30000000", "0", 0, false},
	} {
		got, err := watchdogTime(tt.usec, tt.pid)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("watchdogTime(%q, %q) = %v, %v, want %v", tt.usec, tt.pid, got, err, tt.want)
		}
	}
}

func TestInheritedVariables(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		count, pid string
		ok         bool
	}{
		{"", "", true},
		{"1", "", true}, // as sd_listen_fds has it
		{"1", "1", true},
		{"0", me, true},
		{"", me, false},
		{"-1", me, false},
		{" 1", me, false},
		{"65", me, false},
		{"1", "+1", false},
		{"1", "99999999999", false},
	} {
		got, err := inherited(tt.count, tt.pid)
		if len(got) != 0 || (err == nil) != tt.ok {
			t.Errorf("inherited(%q, %q) = %v, %v, want ok = %v", tt.count, tt.pid, got, err, tt.ok)
		}
	}
}

// descriptor is a copy of the one below s, which takeListener is to take.
func descriptor(t *testing.T, s interface{ File() (*os.File, error) }) int {
	t.Helper()
	file, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestTakeListener(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	l, err := takeListener(descriptor(t, tcp.(*net.TCPListener)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Addr().String(), tcp.Addr().String(); got != want {
		t.Errorf("address = %s, want %s", got, want)
	}
	_ = l.Close()

	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for want, fd := range map[string]int{
		"does not listen":  descriptor(t, udp.(*net.UDPConn)),
		"want TCP":         descriptor(t, local.(*net.UnixListener)),
		"is it a socket?":  int(file.Fd()),
		"file descriptor":  1 << 20,
		"bad file descrip": -1,
	} {
		if _, err := takeListener(fd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("takeListener = %v, want %q", err, want)
		}
	}
}

// TestSocketsMustNotOpenTheProxy has a socket of which the file says nothing.
func TestSocketsMustNotOpenTheProxy(t *testing.T) {
	open, local := Service{listeners: map[string]net.Listener{"[::]:1080": nil}},
		Service{listeners: map[string]net.Listener{"127.0.0.1:1080": nil}}
	users := []config.User{{Username: "a", Password: config.NewSecret("b")}}
	for _, tt := range []struct {
		name    string
		service Service
		listen  config.Listen
		ok      bool
	}{
		{"loopback", local, config.Listen{}, true},
		{"everywhere", open, config.Listen{}, false},
		{"everywhere with users", open, config.Listen{SOCKS5Users: users}, true},
		{"everywhere, as wanted", open, config.Listen{AllowOpen: true}, true},
	} {
		if err := tt.service.admissible(&tt.listen); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok = %v", tt.name, err, tt.ok)
		}
	}
}

// TestServiceLifeCycle serves a socket of the service manager through two reloads, of which one fails.
func TestServiceLifeCycle(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	manager, book := new(told), newLogbook()
	rest := "upstreams:\n" + entry(t, s)
	a, err := New(load(t, closedPort(t), rest), book.logger())
	if err != nil {
		t.Fatal(err)
	}
	listeners := map[string]net.Listener{l.Addr().String(): l}
	if err := a.Attach(Service{tell: manager.tell, listeners: listeners}); err != nil {
		t.Fatal(err)
	}
	a.reloadBegins()(nil) // nobody is told: it is not ready yet
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, context.Background()) }()
	book.wait(t, "listening", "addr="+l.Addr().String())
	again := func(err error) {
		a.Load = func() (*config.Config, error) { return load(t, closedPort(t), rest), err }
		_ = a.ReloadFile()
	}
	again(nil)
	again(errors.New("first line\nsecond line"))
	c := &client{addr: l.Addr().String()}
	if _, code, _ := request(t, c, 2, "127.0.0.1:1"); code != 7 { // BIND, which is not supported
		t.Errorf("reply = %d, want 7: the socket is not served", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.reloadBegins()(nil)
	want := []string{
		"READY=1\nSTATUS=serving",
		"RELOADING=1\nMONOTONIC_USEC=", "READY=1\nSTATUS=configuration reloaded",
		"RELOADING=1\nMONOTONIC_USEC=", "READY=1\nSTATUS=not reloaded: first line",
		"STOPPING=1\nSTATUS=letting flows finish",
	}
	wantStates(t, manager.states, want)
	_, usec, _ := strings.Cut(manager.states[1], "MONOTONIC_USEC=")
	if n, err := strconv.Atoi(usec); err != nil || n <= 0 || n > int(monotonic().Microseconds()) {
		t.Errorf("MONOTONIC_USEC=%s, which is %v", usec, fmt.Sprint(err))
	}
}

// TestReportKnowsOfAReloadThatEnded asks for the report when the service manager hears that a reload is over.
func TestReportKnowsOfAReloadThatEnded(t *testing.T) {
	rest, book := "upstreams:\n"+entry(t, startServer(t, outlinetest.Config{})), newLogbook()
	a, err := New(load(t, "127.0.0.1:0", rest), book.logger())
	if err != nil {
		t.Fatal(err)
	}
	var seen []uint64
	tell := func(state string) error {
		if strings.Contains(state, "reloaded") {
			seen = append(seen, a.Report().Reload.OK)
		}
		return nil
	}
	if err := a.Attach(Service{tell: tell}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, context.Background()) }()
	book.wait(t, "listening", "socks5")
	a.Load = func() (*config.Config, error) { return load(t, "127.0.0.1:0", rest), nil }
	if err := a.ReloadFile(); err != nil || !slices.Equal(seen, []uint64{1}) {
		t.Errorf("ReloadFile() = %v; reloads reported when they ended: %v, want 1", err, seen)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// wantStates wants messages that begin so, and no others.
func wantStates(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Fatalf("messages %q, want %q", got, want)
	}
}
