package h1

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func TestResponses(t *testing.T) {
	const (
		status     = "HTTP/1.1 101 Switching Protocols\r\n"
		upgrade    = "Upgrade: websocket\r\n"
		connection = "Connection: Upgrade\r\n"
		end        = "\r\n"
		on         = "HTTP/1.1 100 Continue\r\n\r\n"
	)
	accept := "Sec-WebSocket-Accept: " + acceptFor("KEY") + "\r\n"
	good := status + upgrade + connection + accept
	tests := []struct {
		name string
		wire string
		rest string
		says string // part of the error; empty: none
	}{
		{"good", good + end, "", ""},
		{"bytes behind it", good + end + "\x82\x05hello", "\x82\x05hello", ""},
		{"bytes behind it that look like an end", good + end + "\r\n\r\n", "\r\n\r\n", ""},
		{
			"other spellings and lists",
			status + "upgrade: WebSocket\r\nconnection: a, UPGRADE\r\n" + accept + end, "", "",
		},
		{
			"tokens on several lines",
			status + "Connection: a\r\nConnection: b , Upgrade\r\n" + upgrade + accept + end, "", "",
		},
		{"informational before it", on + "HTTP/1.1 103 Early\r\nX: y\r\n\r\n" + good + end + "x", "x", ""},

		{"not found", "HTTP/1.1 404 Not Found\r\nX: y\r\n\r\n", "", "404 Not Found instead of 101: is the"},
		{"bad gateway", "HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "", "502 Bad Gateway instead of 101: the"},
		{"OK", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<html>", "", "200 OK"},
		{"no Upgrade", status + connection + accept + end, "", "without Upgrade"},
		{"another Upgrade", status + "Upgrade: h2c\r\n" + connection + accept + end, "", "without Upgrade"},
		{"no Connection", status + upgrade + accept + end, "", "without Connection"},
		{
			"another Connection", status + upgrade + "Connection: upgraded\r\n" + accept + end,
			"", "without Connection",
		},
		{"no accept", status + upgrade + connection + end, "", "wrong Sec-WebSocket-Accept"},
		{
			"wrong accept", status + upgrade + connection + "Sec-WebSocket-Accept: x\r\n" + end,
			"", "wrong Sec-WebSocket-Accept",
		},
		{"extension", good + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "", "extension"},
		{"subprotocol", good + "Sec-WebSocket-Protocol: chat\r\n\r\n", "", "subprotocol"},

		{"nothing", "", "", "hung up"},
		{"cut", good, "", "hung up"},
		{"cut in the end", good + "\r", "", "hung up"},
		{"only informational", on, "", "hung up"},
		{"too long", status + strings.Repeat("X-Pad: y\r\n", 2000) + "\r\n", "", "exceeds 16384 bytes"},
		{"too long without an end", strings.Repeat("x", maxResponse+1), "", "exceeds 16384 bytes"},
		{"informational without end", strings.Repeat(on, 1000), "", "exceeds 16384 bytes"},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x16\r\n\r\n", "", "not HTTP/1.1"},
		{"SSH", "SSH-2.0-OpenSSH_9.9\r\n\r\n", "", "not HTTP/1.1"},
	}
	for _, tt := range tests {
		for how, src := range map[string]io.Reader{
			"in one piece": strings.NewReader(tt.wire),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.wire)),
			"with its end": iotest.DataErrReader(strings.NewReader(tt.wire)),
		} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				resp, rest, err := readResponse(src)
				if err == nil {
					err = checkResponse(resp, "KEY")
				}
				if tt.says != "" {
					if err == nil || !strings.Contains(err.Error(), tt.says) {
						t.Errorf("response = %v, want an error that says %q", err, tt.says)
					}
					return
				}
				if behind, _ := io.ReadAll(src); err != nil || string(rest)+string(behind) != tt.rest {
					t.Errorf("response = %v with %q and %q behind, want %q", err, rest, behind, tt.rest)
				}
			})
		}
	}
}

// What the server says about itself is for the log; what it means is for whoever decides.
func TestStatusIsTyped(t *testing.T) {
	_, _, err := dial(t, &Dialer{}, nil, func(f *far) error {
		_, _ = f.head()
		_, err := io.WriteString(f, "HTTP/1.1 404 Not Found\r\nX: hidden\r\n\r\nhidden")
		return err
	})
	wantStage(t, err, carrier.StageHandshake)
	if e, ok := errors.AsType[*carrier.StatusError](err); !ok || e.Code != 404 || e.Want != 101 {
		t.Errorf("DialCarrier() = %v, want a *carrier.StatusError with 404", err)
	}
}
