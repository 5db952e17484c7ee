package h2

import (
	"encoding/binary"
	"io"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	// maxHeaderBlock and maxContinuations bound a header block on the wire (the CONTINUATION flood,
	// CVE-2024-27316).
	maxHeaderBlock   = 16 << 10
	maxContinuations = 16
	// maxFloods is how many frames a second may come that are cheap to send and cost us work (CVE-2019-9512
	// and others).
	maxFloods = 10_000
)

// reading is the state of the goroutine that reads the connection.
type reading struct {
	c      *Conn
	head   [frameHeaderLen]byte
	scrap  [4 << 10]byte // payloads that are short or not wanted
	dec    *hpack.Decoder
	fields responseFields
	floods int
	since  time.Time
}

// responseFields is what we need of a header list.
type responseFields struct {
	status string
	size   uint32
}

func (r *reading) init(c *Conn) {
	r.c = c
	r.dec = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if r.fields.size += f.Size(); f.Name == ":status" {
			r.fields.status = f.Value
		}
	})
	r.dec.SetMaxStringLength(maxHeaderBlock)
}

// read reads frames until the connection ends. It waits for nothing but the connection.
func (c *Conn) read() error {
	for first := true; ; first = false {
		h, err := c.in.header()
		if err != nil {
			return err
		}
		if first && (h.kind != frameSettings || h.has(flagAck)) {
			return protocolError("server's first frame is " + h.kind.String() + ", not SETTINGS")
		}
		if h.length > ourMaxFrame {
			return &violation{CodeFrameSize, "frame longer than announced"}
		}
		if err := c.in.frame(h); err != nil {
			return err
		}
	}
}

func (r *reading) header() (frameHeader, error) {
	if _, err := io.ReadFull(r.c.net, r.head[:]); err != nil {
		return frameHeader{}, noEOF(err)
	}
	h := parseFrameHeader(&r.head)
	r.c.mu.Lock()
	r.c.heard = time.Now()
	r.c.mu.Unlock()
	if r.c.debug {
		r.c.traceFrame("received", h)
	}
	return h, nil
}

// noEOF keeps the end of the connection from being taken for the end of a stream.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // io.ReadFull returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}

// frame reads the payload of a frame and acts on it.
func (r *reading) frame(h frameHeader) error {
	switch h.kind {
	case frameData:
		return r.data(h)
	case frameHeaders:
		return r.headers(h)
	case frameContinuation:
		return protocolError("CONTINUATION of nothing")
	case framePushPromise:
		return protocolError("PUSH_PROMISE although push is off")
	case frameSettings:
		return r.settings(h)
	case framePing:
		return r.ping(h)
	case frameGoAway:
		return r.goAway(h)
	case frameWindowUpdate:
		return r.windowUpdate(h)
	case frameRSTStream:
		return r.reset(h)
	default: // PRIORITY, and what we do not know (section 5.5)
		return r.flood(r.skip(h.length))
	}
}

// flood counts a frame that costs us more than the server.
func (r *reading) flood(err error) error {
	if err != nil {
		return err
	}
	if r.floods++; r.floods < maxFloods {
		return nil
	}
	now := time.Now()
	if now.Sub(r.since) < time.Second {
		return &violation{CodeEnhanceYourCalm, "server floods us with control frames"}
	}
	r.floods, r.since = 0, now
	return nil
}

// payload reads a short payload of exactly n bytes.
func (r *reading) payload(h frameHeader, n int) ([]byte, error) {
	if h.length != n {
		return nil, &violation{CodeFrameSize, h.kind.String() + " of a wrong length"}
	}
	_, err := io.ReadFull(r.c.net, r.scrap[:n])
	return r.scrap[:n], noEOF(err)
}

// skip reads n bytes and drops them.
func (r *reading) skip(n int) error {
	for n > 0 {
		m, err := r.c.net.Read(r.scrap[:min(n, len(r.scrap))])
		n -= m
		if err != nil && n > 0 {
			return noEOF(err)
		}
	}
	return nil
}

func (r *reading) settings(h frameHeader) error {
	switch {
	case h.stream != 0:
		return protocolError("SETTINGS on a stream")
	case h.has(flagAck):
		_, err := r.payload(h, 0)
		return r.flood(err)
	case h.length%settingLen != 0 || h.length > len(r.scrap):
		return &violation{CodeFrameSize, "SETTINGS of a wrong length"}
	}
	p, err := r.payload(h, h.length)
	if err != nil {
		return err
	}
	if err := r.c.applySettings(p); err != nil {
		return err
	}
	return r.flood(r.c.out.queue(frameHeader{kind: frameSettings, flags: flagAck}.appendTo))
}

// applySettings takes the server's settings over, and changes the windows of open streams (section 6.9.2).
func (c *Conn) applySettings(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.peer.initialWindow
	if err := c.peer.apply(p); err != nil {
		return err
	}
	for _, s := range c.streams {
		if c.peer.initialWindow == before {
			break
		}
		if s.sendLeft += c.peer.initialWindow - before; s.sendLeft > maxWindow {
			return &violation{CodeFlowControl, "SETTINGS overflow a window"}
		}
		s.signalWritable()
	}
	if c.debug {
		c.log.Debug("h2 server settings", "connect", c.peer.connect, "streams", c.peer.maxStreams,
			"window", c.peer.initialWindow, "frame", c.peer.maxFrame)
	}
	if !c.settled {
		c.settled = true
		close(c.ready)
		return c.pingLocked(time.Now())
	}
	return nil
}

func (r *reading) ping(h frameHeader) error {
	p, err := r.payload(h, 8)
	if err != nil {
		return err
	}
	if h.stream != 0 {
		return protocolError("PING on a stream")
	}
	if h.has(flagAck) {
		r.c.pong([8]byte(p))
		return r.flood(nil)
	}
	data := [8]byte(p)
	return r.flood(r.c.out.queue(func(b []byte) []byte { return appendPing(b, flagAck, data) }))
}

func (r *reading) goAway(h frameHeader) error {
	switch {
	case h.stream != 0:
		return protocolError("GOAWAY on a stream")
	case h.length < 8:
		return &violation{CodeFrameSize, "GOAWAY too short"}
	}
	p := r.scrap[:8]
	if _, err := io.ReadFull(r.c.net, p); err != nil {
		return noEOF(err)
	}
	last := binary.BigEndian.Uint32(p) & maxWindow
	code := ErrCode(binary.BigEndian.Uint32(p[4:]))
	r.c.goAway(last, code)
	return r.flood(r.skip(h.length - 8))
}

// goAway lets the streams finish that the server knows, and fails the others, which may be opened again
// elsewhere.
func (c *Conn) goAway(last uint32, code ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.debug {
		c.log.Debug("h2 server is going away", "last", last, "code", code.String())
	}
	for id, s := range c.streams {
		if id > last {
			s.breakLocked(&retryError{&GoAwayError{code}})
			c.forget(s)
		}
	}
	c.retireLocked()
}

func (r *reading) windowUpdate(h frameHeader) error {
	p, err := r.payload(h, 4)
	if err != nil {
		return err
	}
	return r.c.credit(h.stream, int64(binary.BigEndian.Uint32(p)&maxWindow))
}

// credit adds to what we may send.
func (c *Conn) credit(stream uint32, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream == 0 {
		if n == 0 {
			return protocolError("WINDOW_UPDATE of 0")
		}
		if c.sendLeft += n; c.sendLeft > maxWindow {
			return &violation{CodeFlowControl, "WINDOW_UPDATE overflows the connection's window"}
		}
		c.wakeStarved()
		return nil
	}
	s := c.streams[stream]
	if s == nil {
		return c.checkKnown(stream)
	}
	if n == 0 {
		return c.punishLocked(s, protocolError("WINDOW_UPDATE of 0"))
	}
	if s.sendLeft += n; s.sendLeft > maxWindow {
		return c.punishLocked(s, &violation{CodeFlowControl, "WINDOW_UPDATE overflows a stream's window"})
	}
	s.signalWritable()
	return nil
}

// punishLocked resets the stream that a violation is about. The caller holds mu.
func (c *Conn) punishLocked(s *Stream, v *violation) error { return c.resetLocked(s, v.code, v) }

// checkKnown fails for a stream that never was. The caller holds mu.
func (c *Conn) checkKnown(stream uint32) error {
	if stream%2 == 0 || stream >= c.nextID {
		return protocolError("frame on a stream that was never opened")
	}
	return nil
}

func (r *reading) reset(h frameHeader) error {
	p, err := r.payload(h, 4)
	if err != nil {
		return err
	}
	code := ErrCode(binary.BigEndian.Uint32(p))
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	s := r.c.streams[h.stream]
	if s == nil {
		return r.flood(r.c.checkKnown(h.stream))
	}
	s.resetByPeer(code)
	r.c.forget(s)
	return r.flood(nil)
}
