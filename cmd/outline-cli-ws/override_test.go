package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOverrides has flags and a file that disagree.
func TestOverrides(t *testing.T) {
	const users = "listen: {socks5_users: [{username: a, password: b}]}"
	const upstream = "upstreams: [{tcp_wss: wss://example.com/p, cipher: aes-256-gcm, secret: s}]\n"
	for _, tt := range []struct {
		name, args, file string
		listen, err      string
		status           bool
	}{
		{"nothing", "", "", "127.0.0.1:1080", "", false},
		{"loopback", "-socks5 127.0.0.1:2", "", "127.0.0.1:2", "", false},
		{"not a list", "-socks5 [::1]:2", `listen: {socks5: ["127.0.0.1:1"]}`, "[::1]:2", "", false},
		{"everywhere", "-socks5 :2", "", "", "-allow-open", false},
		{"everywhere, as wanted", "-socks5 0.0.0.0:2 -allow-open", "", "0.0.0.0:2", "", false},
		{"everywhere with users", "-socks5 0.0.0.0:2", users, "0.0.0.0:2", "", false},
		{"allowed in the file", "-socks5 0.0.0.0:2", "listen: {allow_open: true}", "0.0.0.0:2", "", false},
		{"off in the file", "-socks5 127.0.0.1:2", `listen: {socks5: ""}`, "127.0.0.1:2", "", false},
		{"status", "-status", "", "127.0.0.1:1080", "", true},
		{"status nowhere", "-status", "status: {listen: ''}", "", "want a status.listen", false},
		{"status for all", "-status", "status: {listen: ':1', enable: false}", "", "status.token", false},
		{"status of the file", "", "status: {enable: true}", "127.0.0.1:1080", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.file+"\n"+upstream), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := parseFlags(append(strings.Fields(tt.args), "-c", path), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			c, err := o.load()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("load = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Listen.SOCKS5, " "); got != tt.listen || c.Status.Enable != tt.status {
				t.Errorf("listen = %s, status = %v, want %s, %v", got, c.Status.Enable, tt.listen, tt.status)
			}
		})
	}
}

func TestFlagThatIsNoAddress(t *testing.T) {
	var text strings.Builder
	if _, err := parseFlags([]string{"-socks5", "1080"}, &text); err == nil ||
		!strings.Contains(text.String(), "want an address like 127.0.0.1:1080") {
		t.Errorf("parseFlags = %v and says %q", err, text.String())
	}
}
