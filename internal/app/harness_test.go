package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// Parts of what no log may ever show.
const (
	testSecret = "hidden-secret"
	testPath   = "hidden-path"
)

// patience bounds everything that a test waits for.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is one log line.
type record struct {
	level   slog.Level
	message string
	attrs   string // "key=value key=value"
}

// logbook keeps what the program logs.
type logbook struct {
	mu      sync.Mutex
	text    strings.Builder
	records []record
	grown   chan struct{} // closed and replaced with every line
	handler slog.Handler
}

func newLogbook() *logbook {
	b := &logbook{grown: make(chan struct{})}
	b.handler = slog.NewTextHandler(&b.text, &slog.HandlerOptions{Level: slog.LevelDebug})
	return b
}

// bookHandler is a view of a logbook with attributes.
type bookHandler struct {
	*logbook
	slog.Handler
}

func (b *logbook) logger() *slog.Logger { return slog.New(bookHandler{b, b.handler}) }

func (h bookHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.text.Len()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	h.records = append(h.records, record{r.Level, r.Message, h.text.String()[before:]})
	close(h.grown)
	h.grown = make(chan struct{})
	return nil
}

func (h bookHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bookHandler{h.logbook, h.Handler.WithAttrs(attrs)}
}

// wait returns the first line with that message whose text contains all parts.
func (b *logbook) wait(t *testing.T, message string, parts ...string) record {
	t.Helper()
	timeout := time.After(patience)
	for seen := 0; ; {
		b.mu.Lock()
		fresh, grown := b.records[seen:], b.grown
		b.mu.Unlock()
		for _, r := range fresh {
			if r.message == message && containsAll(r.attrs, parts) {
				return r
			}
		}
		seen += len(fresh)
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("no log line %q with %q in:\n%s", message, parts, b.all())
		}
	}
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

func (b *logbook) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startServer runs an Outline server with secrets that the tests look for in logs.
func startServer(t *testing.T, c outlinetest.Config) *outlinetest.Server {
	t.Helper()
	if c.Secret == "" {
		c.Secret = testSecret
	}
	c.StreamPath, c.PacketPath = "/"+testPath+"/tcp", "/"+testPath+"/udp"
	s, err := outlinetest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// entry is a server's part of a configuration file.
func entry(t *testing.T, s *outlinetest.Server) string {
	t.Helper()
	ca, err := s.WriteCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("  - {tcp_wss: %q, udp_wss: %q, cipher: %s, secret: %s, tls: {ca_file: %q}}\n",
		s.StreamURL(), s.PacketURL(), s.Cipher(), testSecret, ca)
}

// client is the running program.
type client struct {
	addr string // of the SOCKS5 port
	log  *logbook
	stop func() error
	app  *App
}

// load parses a configuration file.
func load(t *testing.T, listen, rest string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf("listen: {socks5: %q}\n%s", listen, rest)
	if !strings.Contains(rest, "probe") {
		text += "\ndisable_probes: true\n" // their default targets are on the internet
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	parsed, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// startClient writes a configuration file, runs the program on it and stops it when the test ends. Whatever
// the test does, no log line may show a secret.
func startClient(t *testing.T, listen, rest string) *client {
	t.Helper()
	book := newLogbook()
	a, err := New(load(t, listen, rest), book.logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, context.Background()) }()
	c := &client{log: book, app: a}
	c.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Errorf("Run() = %v", err)
		}
		said, err := json.Marshal(a.Report())
		if err != nil {
			t.Error(err)
		}
		for name, text := range map[string]string{
			"log": book.all(), "report": string(said), "metrics": scrape(a),
		} {
			if strings.Contains(text, testSecret) || strings.Contains(text, testPath) {
				t.Errorf("the %s shows a secret:\n%s", name, text)
			}
		}
	})
	_, after, _ := strings.Cut(book.wait(t, "listening", "socks5").attrs, "addr=")
	c.addr = strings.TrimSpace(after)
	return c
}

// scrape returns the metrics.
func scrape(a *App) string {
	w := httptest.NewRecorder()
	a.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

// request sends a SOCKS5 request and returns the reply code with the address that came behind it.
func request(t *testing.T, c *client, command byte, target string) (*net.TCPConn, byte, socksaddr.Addr) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", c.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	addr, err := socksaddr.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	message := append([]byte{5, 1, 0}, addr.Append([]byte{5, command, 0})...)
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	var reply [5]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		t.Fatalf("read the reply: %v", err)
	}
	bound, err := socksaddr.Read(conn)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), reply[3], bound
}

// connect opens a flow to the target.
func connect(t *testing.T, c *client, target string) *net.TCPConn {
	t.Helper()
	conn, code, _ := request(t, c, 1, target)
	if code != 0 {
		t.Fatalf("CONNECT %s: reply %d, want 0", target, code)
	}
	return conn
}
