package websocket

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// Close codes (RFC 6455, section 7.4.1).
const (
	codeNormal    = 1000
	codeGoingAway = 1001
)

// CloseError is a Close frame that is no clean end.
type CloseError struct {
	Code   int
	Reason string // the peer's words: at most 123 bytes of valid UTF-8
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("websocket closed by the peer with code %d", e.Code)
	}
	return fmt.Sprintf("websocket closed by the peer with code %d: %q", e.Code, e.Reason)
}

// parseClose returns what the payload of a Close frame means to the reader: io.EOF for a clean end, a
// *CloseError, or a protocol error.
func parseClose(p []byte) error {
	if len(p) == 0 {
		return io.EOF
	}
	if len(p) == 1 {
		return protocolError("close frame with half a code")
	}
	code, reason := int(binary.BigEndian.Uint16(p)), p[2:]
	if !validCode(code) {
		return protocolError("close code %d", code)
	}
	if !utf8.Valid(reason) {
		return protocolError("close reason is not UTF-8")
	}
	if code == codeNormal || code == codeGoingAway {
		return io.EOF
	}
	return &CloseError{Code: code, Reason: string(reason)}
}

// validCode accepts the codes that may stand in a frame (section 7.4).
func validCode(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// appendClose appends the payload of a Close frame.
func appendClose(b []byte, code int) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(code))
}
