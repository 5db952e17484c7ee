package socks5

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// script is a client whose words are known in advance.
type script struct {
	io.Reader
	written bytes.Buffer
}

func (s *script) Write(p []byte) (int, error) { return s.written.Write(p) }

// words are what was said in a handshake: the server's, and the client's that were not read.
type words struct{ written, unread string }

// talk runs a handshake on what the client says.
func talk(says string, users Users) (request, words, error) {
	in := strings.NewReader(says)
	s := &script{Reader: iotest.OneByteReader(in)}
	var head [2]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return request{}, words{}, err
	}
	req, err := negotiate(s, head, users)
	rest, _ := io.ReadAll(in)
	return req, words{s.written.String(), string(rest)}, err
}

func TestNegotiate(t *testing.T) {
	alice := newUsers(t, "alice:secret")
	const login = "\x01\x05alice\x06secret"
	tests := []struct {
		name    string
		users   Users
		says    string
		written string
		command byte
		target  string
	}{
		{"ipv4", Users{}, helloOpen + connectV4, acceptOpen, 1, "1.2.3.4:80"},
		{"domain", Users{}, helloOpen + connectName, acceptOpen, 1, "example.com:80"},
		{
			"ipv6",
			Users{},
			helloOpen + "\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x01\xbb",
			acceptOpen, 1, "[2001:db8::1]:443",
		},
		{"associate", Users{}, helloOpen + associateAny, acceptOpen, 3, "0.0.0.0:0"},
		{"reserved byte", Users{}, helloOpen + "\x05\x01\xff" + exampleAddr, acceptOpen, 1, "example.com:80"},
		{"open, both offered", Users{}, "\x05\x02\x02\x00" + connectV4, acceptOpen, 1, "1.2.3.4:80"},
		{
			"255 methods",
			Users{},
			"\x05\xff" + strings.Repeat("\x80", 254) + "\x00" + connectV4, acceptOpen, 1, "1.2.3.4:80",
		},
		{"password", alice, helloPassword + login + connectV4, "\x05\x02\x01\x00", 1, "1.2.3.4:80"},
		{"both offered", alice, "\x05\x02\x00\x02" + login + connectV4, "\x05\x02\x01\x00", 1, "1.2.3.4:80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, said, err := talk(tt.says+"early data", tt.users)
			if err != nil || req.command != tt.command || req.target.String() != tt.target {
				t.Fatalf("negotiate(%q) = %d %v, %v, want %d %s",
					tt.says, req.command, req.target, err, tt.command, tt.target)
			}
			if said.written != tt.written {
				t.Errorf("negotiate(%q) wrote %q, want %q", tt.says, said.written, tt.written)
			}
			if said.unread != "early data" {
				t.Errorf("negotiate(%q) left %q, want the early data", tt.says, said.unread)
			}
		})
	}
}

func TestNegotiateRefuses(t *testing.T) {
	alice := newUsers(t, "alice:secret")
	tests := []struct {
		name   string
		users  Users
		says   string
		answer string // after what is written on the way
		err    string
	}{
		{"socks4", Users{}, "\x04\x01\x00\x50\x01\x02\x03\x04\x00", "", "SOCKS4"},
		{"http get", Users{}, "GET / HTTP/1.1\r\n\r\n", httpHint, "HTTP"},
		{"http connect", Users{}, "CONNECT example.com:443 HTTP/1.1\r\n\r\n", httpHint, "HTTP"},
		{"tls", Users{}, "\x16\x03\x01\x02\x00", "", "0x16"},
		{"no methods", Users{}, "\x05\x00", "\x05\xff", "method 00"},
		{"password offered, none needed", Users{}, helloPassword, "\x05\xff", "method 00"},
		{"password needed, none offered", alice, helloOpen, "\x05\xff", "method 02"},
		{"gssapi only", alice, "\x05\x01\x01", "\x05\xff", "method 02"},
		{"wrong password", alice, helloPassword + "\x01\x05alice\x05wrong", "\x01\x01", errPassword.Error()},
		{"wrong user", alice, helloPassword + "\x01\x03bob\x06secret", "\x01\x01", errPassword.Error()},
		{"empty credentials", alice, helloPassword + "\x01\x00\x00", "\x01\x01", errPassword.Error()},
		{"version of the login", alice, helloPassword + "\x05\x01", "\x01\x01", "version 5"},
		{"version of the request", Users{}, helloOpen + "\x04\x01\x00", failure, "version 4"},
		{"bind", Users{}, helloOpen + "\x05\x02\x00" + exampleAddr, badCommand, "command 2"},
		{"unknown command", Users{}, helloOpen + "\x05\x09\x00" + zeroAddr, badCommand, "command 9"},
		{"address type", Users{}, helloOpen + "\x05\x01\x00\x02\x00", badType, "type 2"},
		{"empty name", Users{}, helloOpen + "\x05\x01\x00\x03\x00\x00\x50", failure, "domain"},
		{"bad name", Users{}, helloOpen + "\x05\x01\x00\x03\x02a\n\x00\x50", failure, "domain"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := talk(tt.says, tt.users)
			r, ok := errors.AsType[*refusal](err)
			if !ok || string(r.answer) != tt.answer {
				t.Fatalf("negotiate(%q) = %v, want a refusal with %q", tt.says, err, tt.answer)
			}
			if !strings.Contains(err.Error(), tt.err) {
				t.Errorf("negotiate(%q) = %v, want an error about %q", tt.says, err, tt.err)
			}
		})
	}
}

// TestNegotiateCut: wherever the client's words end, the handshake is an error and never a clean end.
func TestNegotiateCut(t *testing.T) {
	alice := newUsers(t, "alice:secret")
	whole := helloPassword + "\x01\x05alice\x06secret" + connectName
	for n := 2; n < len(whole); n++ {
		if _, _, err := talk(whole[:n], alice); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("negotiate(%q) = %v, want unexpected EOF", whole[:n], err)
		}
	}
}

func TestNegotiateSaysNoPassword(t *testing.T) {
	_, _, err := talk(helloPassword+"\x01\x05alice\x06s3cr3t", newUsers(t, "alice:other"))
	if text := err.Error(); strings.Contains(text, "alice") || strings.Contains(text, "s3cr3t") {
		t.Errorf("negotiate = %v, which tells the credentials", err)
	}
}

// TestHTTPHint: the hint is a response that HTTP clients can read.
func TestHTTPHint(t *testing.T) {
	_, body, _ := strings.Cut(httpHint, "\r\n\r\n")
	if body != "this is a SOCKS5 proxy.\n" || len(body) != 24 {
		t.Errorf("the hint's body is %q with %d bytes, want 24", body, len(body))
	}
}
