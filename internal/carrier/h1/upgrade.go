package h1

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // prescribed by RFC 6455
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// maxResponse bounds the header of the server's response.
const maxResponse = 16 << 10

// acceptGUID is RFC 6455's, section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// upgrade sends the opening handshake on rw and checks the answer (RFC 6455, section 4.1). rest is what came
// behind the response in the same read.
func upgrade(rw io.ReadWriter, u *url.URL, header http.Header) (rest []byte, err error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	if _, err := rw.Write(request(u, key, header)); err != nil {
		return nil, err
	}
	resp, rest, err := readResponse(rw)
	if err != nil {
		return nil, err
	}
	return rest, checkResponse(resp, key)
}

// request returns the request as it goes out: the target byte for byte as the user wrote it, without the
// flags.
func request(u *url.URL, key string, header http.Header) []byte {
	host := u.Host
	if h := header.Get("Host"); h != "" {
		host = h
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", u.RequestURI(), host)
	b.WriteString("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\n", key)
	_ = header.WriteSubset(&b, map[string]bool{"Host": true}) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// response is the header of a response.
type response struct {
	code   int
	header http.Header
}

// readResponse reads the header of one response and passes over informational ones. rest is what came behind
// it.
func readResponse(r io.Reader) (resp response, rest []byte, err error) {
	buf := make([]byte, 0, 1024)
	seen := 0 // bytes of informational responses
	for {
		if end := bytes.Index(buf, endOfHeader); end >= 0 {
			end += len(endOfHeader)
			if resp, err = parseResponse(buf[:end]); err != nil {
				return resp, nil, err
			}
			seen, buf = seen+end, buf[end:]
			if !informational(resp.code) {
				return resp, slices.Clone(buf), nil
			}
			continue
		}
		if seen+len(buf) >= maxResponse {
			return resp, nil, fmt.Errorf("server's response header exceeds %d bytes", maxResponse)
		}
		buf = slices.Grow(buf, 512)
		n, err := r.Read(buf[len(buf):min(cap(buf), maxResponse-seen)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			return resp, nil, noEOF(err)
		}
	}
}

var endOfHeader = []byte("\r\n\r\n")

func parseResponse(head []byte) (response, error) {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return response{}, errors.New("server's response is not HTTP/1.1")
	}
	_ = r.Body.Close() // there is none in head
	return response{code: r.StatusCode, header: r.Header}, nil
}

func informational(code int) bool {
	return code >= 100 && code < 200 && code != http.StatusSwitchingProtocols
}

// noEOF names the end of the connection what it is at this place.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("server hung up during the handshake: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// checkResponse checks what RFC 6455, section 4.1, says a client must check.
func checkResponse(resp response, key string) error {
	h := resp.header
	switch {
	case resp.code != http.StatusSwitchingProtocols:
		return &carrier.StatusError{Code: resp.code, Want: http.StatusSwitchingProtocols}
	case !hasToken(h, "Upgrade", "websocket"):
		return errors.New("response without Upgrade: websocket")
	case !hasToken(h, "Connection", "upgrade"):
		return errors.New("response without Connection: Upgrade")
	case h.Get("Sec-Websocket-Accept") != acceptFor(key):
		return errors.New("response with a wrong Sec-WebSocket-Accept: not from a WebSocket server")
	case h.Get("Sec-Websocket-Extensions") != "":
		return errors.New("response with an extension that was not asked for")
	case h.Get("Sec-Websocket-Protocol") != "":
		return errors.New("response with a subprotocol that was not asked for")
	}
	return nil
}

func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID)) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hasToken looks for a token in a comma-separated list, without regard to case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h[textproto.CanonicalMIMEHeaderKey(name)] {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
