package outlinetest

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"
)

// Mux is how connections that many WebSockets share misbehave. What a connection announces stays as it was
// when the connection opened; the rest strikes at once.
type Mux struct {
	NoH2      bool // TLS does not offer h2
	NoConnect bool // h2, h3: the extended CONNECT is not announced, and is malformed

	// Of h2 and h3: concurrent streams, 4096 if 0, and how many bytes the client may have in
	// flight on a stream and on the connection, 1 MiB if 0 in h2. A connection of h2 begins with 65,535.
	MaxStreams, Window, ConnWindow int

	ShrinkAfter int64 // h2: once a connection has sent that many bytes, if not 0, streams get another window,
	ShrinkTo    int   // this one, which may make theirs negative

	RefuseEvery int           // h2, h3: of a connection's streams, refused is every second one if 2, all if 1
	PingEvery   time.Duration // h2: between PINGs
	NoPingAck   bool          // h2: PING is not answered
	GoAwayEvery time.Duration // h2, h3: after so long, a connection is to go, and may finish its streams
}

// goAwayPing is the PING that tells when the client has seen the first GOAWAY.
var goAwayPing = [8]byte{'g', 'o', ' ', 'a', 'w', 'a', 'y'}

// nag sends what the fault wants sent by time, until the connection ends.
func (h *h2Conn) nag() {
	for {
		f, changed := h.server.fault.watch()
		if !h.nagAs(f.Mux, changed) {
			return
		}
	}
}

// nagAs reports whether the fault has changed; otherwise the connection has ended.
func (h *h2Conn) nagAs(m Mux, changed <-chan struct{}) bool {
	var ping, goAway <-chan time.Time
	if m.PingEvery > 0 {
		t := time.NewTicker(m.PingEvery)
		defer t.Stop()
		ping = t.C
	}
	if m.GoAwayEvery > 0 {
		t := time.NewTimer(m.GoAwayEvery)
		defer t.Stop()
		goAway = t.C
	}
	for {
		select {
		case <-ping:
			h.sendPing()
		case <-goAway:
			h.leave()
		case <-changed:
			return true
		case <-h.gone:
			return false
		}
	}
}

func (h *h2Conn) sendPing() {
	h.mu.Lock()
	h.pings++
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], h.pings)
	h.mu.Unlock()
	h.out.control(func() error { return h.framer.WritePing(false, data) })
}

// leave begins a graceful end (RFC 9113, section 6.8): the client learns that it must open no more streams,
// and those that are on the way still count.
func (h *h2Conn) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaving != h2Staying {
		return
	}
	h.leaving = h2Announced
	h.out.control(func() error {
		if err := h.framer.WriteGoAway(h2MaxWindow, http2.ErrCodeNo, nil); err != nil {
			return err
		}
		return h.framer.WritePing(false, goAwayPing)
	})
}

// leaveFinally names the last stream.
func (h *h2Conn) leaveFinally() {
	h.mu.Lock()
	if h.leaving == h2Announced {
		h.leaving = h2Final
		last := h.lastID
		h.out.control(func() error { return h.framer.WriteGoAway(last, http2.ErrCodeNo, nil) })
	}
	h.mu.Unlock()
	h.maybeLeave()
}

// maybeLeave closes our half of a connection that is to go, after its last stream. The client closes its own.
func (h *h2Conn) maybeLeave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaving != h2Final || len(h.streams) > 0 {
		return
	}
	h.leaving = h2Left
	h.out.control(func() error {
		_ = h.tcp.SetReadDeadline(time.Now().Add(cutWait))
		if err := h.out.buf.Flush(); err != nil {
			return err
		}
		if err := h.secure.CloseWrite(); err != nil {
			return err
		}
		return h.tcp.tcp.CloseWrite()
	})
}
