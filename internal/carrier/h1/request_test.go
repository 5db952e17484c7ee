package h1

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// The request goes out in one piece, and its target byte for byte.
func TestRequest(t *testing.T) {
	const rest = "Upgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY\r\n"
	tests := []struct {
		name   string
		url    string
		header http.Header
		want   string
	}{
		{"plain", "ws://example.com/a", nil, "GET /a HTTP/1.1\r\nHost: example.com\r\n" + rest + "\r\n"},
		{"no path", "wss://example.com", nil, "GET / HTTP/1.1\r\nHost: example.com\r\n" + rest + "\r\n"},
		{
			"port", "wss://example.com:8443/a/", nil,
			"GET /a/ HTTP/1.1\r\nHost: example.com:8443\r\n" + rest + "\r\n",
		},
		{
			"IPv6", "wss://[2001:db8::1]:8443/", nil,
			"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n" + rest + "\r\n",
		},
		{
			"escapes and flags", "wss://example.com/a%2Fb/%41?z=%2f&h2=1&&a=b+c", nil,
			"GET /a%2Fb/%41?z=%2f&&a=b+c HTTP/1.1\r\nHost: example.com\r\n" + rest + "\r\n",
		},
		{
			"headers", "wss://example.com/a",
			http.Header{"Origin": {"https://example.com"}, "X-Two": {"1", "2"}, "Host": {"front.example"}},
			"GET /a HTTP/1.1\r\nHost: front.example\r\n" + rest +
				"Origin: https://example.com\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n",
		},
		{
			"a line break in a value", "wss://example.com/a",
			http.Header{"X-One": {"1\r\nX-Two: 2"}},
			"GET /a HTTP/1.1\r\nHost: example.com\r\n" + rest + "X-One: 1  X-Two: 2\r\n\r\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(request(parse(t, tt.url), "KEY", tt.header)); got != tt.want {
				t.Errorf("request = %q, want %q", got, tt.want)
			}
		})
	}
}

// On the wire it is the same, with 16 bytes of key that differ.
func TestRequestOnTheWire(t *testing.T) {
	keys := make(map[string]bool)
	for range 3 {
		client, server := transporttest.TCPPair(t)
		f, asked, got := newFar(server, nil), "", make(chan string, 1)
		go func() {
			head, _ := f.head()
			_, _ = io.WriteString(f, switching(keyOf(head), ""))
			got <- head
		}()
		d := &Dialer{Net: oneConn{client, &asked}, Header: http.Header{"X-One": {"1"}}}
		c, err := d.DialCarrier(t.Context(), parse(t, plainURL))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		head := <-got
		key := keyOf(head)
		if nonce, err := base64.StdEncoding.DecodeString(key); err != nil || len(nonce) != 16 {
			t.Errorf("key = %q, want 16 bytes in base64", key)
		}
		keys[key] = true
		if want := string(request(parse(t, plainURL), key, d.Header)); head != want {
			t.Errorf("request on the wire = %q, want %q", head, want)
		}
		if asked != "server.example:8080" {
			t.Errorf("dialed %s, want server.example:8080", asked)
		}
	}
	if len(keys) != 3 {
		t.Errorf("3 handshakes had %d keys, want 3", len(keys))
	}
}

// The example of RFC 6455, section 1.3.
func TestAccept(t *testing.T) {
	if got, want := acceptFor("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("acceptFor() = %s, want %s", got, want)
	}
}

func FuzzReadResponse(f *testing.F) {
	f.Add([]byte(switching("key", "behind")), uint8(1))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"+switching("key", "")), uint8(7))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello"), uint8(200))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), uint8(3))
	f.Add([]byte("\x15\x03\x01\x00\x02\x02\x16"), uint8(2))
	f.Add([]byte("HTTP/1.1 101\r\n"+strings.Repeat("X: y\r\n", 3000)), uint8(255))
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8) {
		src := bytes.NewReader(wire)
		resp, rest, err := readResponse(pieces{src, 1 + int(piece)})
		if read := len(wire) - src.Len(); read > maxResponse {
			t.Errorf("read %d bytes, want %d at most", read, maxResponse)
		}
		if err != nil {
			return
		}
		seen := wire[:len(wire)-src.Len()]
		if informational(resp.code) || !bytes.HasSuffix(seen, append(endOfHeader, rest...)) {
			t.Errorf("response %d with %q behind it is not what %q holds", resp.code, rest, wire)
		}
		_ = checkResponse(resp, "key")
	})
}

// pieces delivers that many bytes a call at most.
type pieces struct {
	src  io.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error) { return p.src.Read(b[:min(p.size, len(b))]) }
