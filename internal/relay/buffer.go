package relay

import "sync"

const (
	// bufferSize holds the largest Shadowsocks chunk (0x3FFF bytes and a 16-byte tag) opened in place, and
	// equals a size class of Go's allocator.
	bufferSize = 18432
	// packetSize holds the largest datagram.
	packetSize = 65535
)

type buffer [bufferSize]byte

// Pooled buffers never leave the package: whoever takes one puts it back.
var (
	buffers = sync.Pool{New: func() any { return new(buffer) }}
	packets = sync.Pool{New: func() any { return new([packetSize]byte) }}
)
