package transport

import "time"

// RecordSize is the largest plaintext of one TLS record (RFC 8446, section 5.1). A wire unit of exactly this
// size costs one record and one system call; one byte more costs two.
const RecordSize = 16384

// Headroom is what a writer overwrites around a payload that is given to it in place.
type Headroom struct {
	Front int // bytes before the payload, for headers
	Back  int // bytes behind the payload, for authentication tags
	Max   int // the largest payload that still makes one wire unit
}

// HeadroomWriter is a stream that puts its header in front of the payload, in the caller's buffer, and hands
// the whole to the layer below without a copy.
type HeadroomWriter interface {
	// Headroom is constant for the life of the stream.
	Headroom() Headroom
	// WriteHeadroom writes the payload buf[front:len(buf)-back], where front and back are at least the
	// Headroom's. The caller's buffer is overwritten, payload included, and is the caller's again on return.
	WriteHeadroom(buf []byte, front, back int) error
}

// PathWatcher is a stream that knows whether the peer's host still acknowledges what it is sent.
type PathWatcher interface {
	// Unacknowledged is for how long the host has acknowledged nothing although it was sent something again
	// and again; 0 while all is well, or nothing is known.
	Unacknowledged() time.Duration
}

// GoneWatcher is a stream that learns of its peer's end without a read.
type GoneWatcher interface {
	// Gone reports whether the peer has reset the stream, or both halves have ended.
	Gone() bool
}

// Sharer is a stream of a connection that carries other streams too.
type Sharer interface {
	// Strained reports whether a new flow is better off on another connection: bulk is moving on this one, or
	// it takes no more streams.
	Strained() bool
}

// WaitReader is a reader that can wait for data without a buffer to put it in, so that an idle flow holds
// none.
type WaitReader interface {
	// WaitRead blocks until Read would return without waiting for the peer to begin, or returns the error
	// that Read would. It may have to read ahead, so only the goroutine that reads may call it.
	WaitRead() error
}
