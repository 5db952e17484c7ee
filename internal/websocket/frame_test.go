package websocket

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParseHeader(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want frameHeader
	}{
		{"empty", []byte{0x82, 0}, frameHeader{true, opBinary, 0}},
		{"one byte", []byte{0x82, 1}, frameHeader{true, opBinary, 1}},
		{"longest in one byte", []byte{0x82, 125}, frameHeader{true, opBinary, 125}},
		{"shortest in two bytes", []byte{0x82, 126, 0, 126}, frameHeader{true, opBinary, 126}},
		{"longest in two bytes", []byte{0x82, 126, 0xff, 0xff}, frameHeader{true, opBinary, 65535}},
		{"shortest in eight bytes", header(0x82, 65536), frameHeader{true, opBinary, 65536}},
		{"longest", header(0x82, math.MaxInt64), frameHeader{true, opBinary, math.MaxInt64}},
		{"two bytes for one", []byte{0x82, 126, 0, 5}, frameHeader{true, opBinary, 5}},
		{"eight bytes for one", []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5}, frameHeader{true, opBinary, 5}},
		{"not final", []byte{0x02, 5}, frameHeader{false, opBinary, 5}},
		{"continuation", []byte{0x00, 5}, frameHeader{false, opContinuation, 5}},
		{"last continuation", []byte{0x80, 5}, frameHeader{true, opContinuation, 5}},
		{"text", []byte{0x81, 5}, frameHeader{true, opText, 5}},
		{"close", []byte{0x88, 2}, frameHeader{true, opClose, 2}},
		{"longest ping", []byte{0x89, 125}, frameHeader{true, opPing, 125}},
		{"pong", []byte{0x8a, 0}, frameHeader{true, opPong, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if n := headerLen([2]byte(tt.in)); n != len(tt.in) {
				t.Errorf("headerLen(%x) = %d, want %d", tt.in[:2], n, len(tt.in))
			}
			if got, err := parseHeader(tt.in); got != tt.want || err != nil {
				t.Errorf("parseHeader(%x) = %+v, %v, want %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		says string
	}{
		{"masked", []byte{0x82, 0x81}, "masked"},
		{"RSV1, as with compression", []byte{0xc2, 1}, "reserved bits"},
		{"RSV2", []byte{0xa2, 1}, "reserved bits"},
		{"RSV3", []byte{0x92, 1}, "reserved bits"},
		{"length with the top bit", []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1}, "length"},
		{"control frame in fragments", []byte{0x09, 1}, "fragmented"},
		{"close frame in fragments", []byte{0x08, 2}, "fragmented"},
		{"control frame of 126 bytes", []byte{0x89, 126, 0, 126}, "too long"},
		{"control frame of 65536 bytes", header(0x8a, 65536), "too long"},
		{"close frame of 126 bytes", []byte{0x88, 126, 0, 126}, "too long"},
	}
	for op := byte(0); op < 16; op++ {
		if op >= 3 && op <= 7 || op >= 11 {
			tests = append(tests, struct {
				name string
				in   []byte
				says string
			}{"reserved opcode", []byte{0x80 | op, 0}, "opcode"})
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseHeader(tt.in)
			if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("parseHeader(%x) = %v, want %v that says %q", tt.in, err, ErrProtocol, tt.says)
			}
		})
	}
}

func TestClientHeader(t *testing.T) {
	key := [maskLen]byte{1, 2, 3, 4}
	tests := []struct {
		n    int
		want []byte
	}{
		{0, []byte{0x82, 0x80, 1, 2, 3, 4}},
		{125, []byte{0x82, 0x80 | 125, 1, 2, 3, 4}},
		{126, []byte{0x82, 0x80 | 126, 0, 126, 1, 2, 3, 4}},
		{65535, []byte{0x82, 0x80 | 126, 0xff, 0xff, 1, 2, 3, 4}},
		{65536, []byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}},
	}
	for _, tt := range tests {
		got := make([]byte, clientHeaderLen(tt.n))
		putClientHeader(got, opBinary, tt.n, key)
		if !bytes.Equal(got, tt.want) {
			t.Errorf("client header of %d bytes = %x, want %x", tt.n, got, tt.want)
		}
	}
}

func TestMask(t *testing.T) {
	key := [maskLen]byte{0x12, 0x34, 0x56, 0x78}
	for n := range 200 {
		p := make([]byte, n)
		want := make([]byte, n)
		for i := range p {
			p[i] = byte(i * 7)
			want[i] = p[i] ^ key[i%maskLen] // RFC 6455, section 5.3
		}
		mask(p, key)
		if !bytes.Equal(p, want) {
			t.Errorf("mask of %d bytes = %x, want %x", n, p, want)
		}
	}
}
