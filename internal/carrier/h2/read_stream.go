package h2

import (
	"io"
	"net"
	"strconv"
	"time"
)

// padding reads the length of the padding of a frame and returns the lengths of what is in it.
func (r *reading) padding(h frameHeader) (payload, pad int, err error) {
	if !h.has(flagPadded) {
		return h.length, 0, nil
	}
	if h.length == 0 {
		return 0, 0, &violation{CodeFrameSize, "padded frame without a length"}
	}
	if _, err := io.ReadFull(r.c.net, r.scrap[:1]); err != nil {
		return 0, 0, noEOF(err)
	}
	if pad = int(r.scrap[0]); pad > h.length-1 {
		return 0, 0, protocolError("padding longer than its frame")
	}
	return h.length - 1 - pad, pad, nil
}

// data puts a DATA frame into its stream's buffer. Flow control counts the whole payload, padding included.
func (r *reading) data(h frameHeader) error {
	s, err := r.c.dataArrived(h)
	if err != nil {
		return err
	}
	n, pad, err := r.padding(h)
	if err != nil {
		return err
	}
	if s == nil {
		err = r.skip(n + pad)
	} else {
		err = r.deliver(s, h, n, pad)
	}
	if n > 0 { // windows bound those
		return err
	}
	return r.flood(err)
}

// deliver reads the payload of n bytes, and the padding, of a DATA frame for s.
func (r *reading) deliver(s *Stream, h frameHeader, n, pad int) error {
	for left := n; left > 0; {
		m, err := r.fill(s, left)
		if err != nil {
			return noEOF(err)
		}
		left -= m
	}
	if err := r.skip(pad); err != nil {
		return err
	}
	return r.c.dataDone(s, h, int64(n))
}

// fill reads from the connection straight into the stream's buffer.
func (r *reading) fill(s *Stream, n int) (int, error) {
	r.c.mu.Lock()
	space := s.inbox.space(n)
	r.c.mu.Unlock()
	m, err := r.c.net.Read(space)
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	s.inbox.added(m)
	if s.closed {
		s.inbox.clear()
	}
	if m > 0 {
		r.c.heard = time.Now() // a long frame on a slow line is no silence
		s.signalReadable()
		return m, nil
	}
	return 0, err
}

// dataArrived counts a DATA frame against the windows and returns its stream, or nil when nobody wants it.
func (c *Conn) dataArrived(h frameHeader) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(h.length)
	if c.recvLeft -= n; c.recvLeft < 0 {
		return nil, &violation{CodeFlowControl, "server sends more than the connection's window"}
	}
	if err := c.creditServer(n); err != nil {
		return nil, err
	}
	s := c.streams[h.stream]
	if s == nil {
		return nil, c.checkKnown(h.stream)
	}
	switch {
	case !s.recv.arrived(n):
		return nil, c.punishLocked(s, &violation{CodeFlowControl, "server sends more than a stream's window"})
	case s.status == 0:
		return nil, c.punishLocked(s, protocolError("DATA before the response"))
	case s.ended:
		return nil, c.punishLocked(s, &violation{CodeStreamClosed, "DATA after the end of the stream"})
	}
	c.meter.add(c.heard, n)
	return s, nil
}

// creditServer gives the connection's window back as bytes arrive. The caller holds mu.
func (c *Conn) creditServer(n int64) error {
	if c.recvOwed += n; c.recvOwed < connWindow/updateParts {
		return nil
	}
	credit := c.recvOwed
	c.recvOwed, c.recvLeft = 0, c.recvLeft+credit
	return c.out.queue(func(b []byte) []byte { return appendWindowUpdate(b, 0, credit) })
}

// dataDone ends a DATA frame with n bytes in it. The rest of its length is never read by an application.
func (c *Conn) dataDone(s *Stream, h frameHeader, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.has(flagEndStream) {
		s.endLocked()
	}
	if !s.closed {
		return c.consumedLocked(s, int64(h.length)-n)
	}
	if s.unwanted += n; s.unwanted > lingerBytes {
		return c.resetLocked(s, CodeCancel, net.ErrClosed)
	}
	return nil
}

// headers reads a header block with its continuations and gives it to its stream. Blocks of streams that are
// gone are decoded too, because they change the decoder's table (section 4.3).
func (r *reading) headers(h frameHeader) error {
	block, err := r.headerBlock(h)
	if err != nil {
		return err
	}
	r.fields = responseFields{}
	if _, err := r.dec.Write(block); err != nil {
		return &violation{CodeCompression, "header block cannot be decoded"}
	}
	if err := r.dec.Close(); err != nil {
		return &violation{CodeCompression, "header block is cut short"}
	}
	if r.fields.size > ourMaxHeaders {
		return &violation{CodeEnhanceYourCalm, "header list longer than announced"}
	}
	return r.flood(r.c.response(h, r.fields.status))
}

// headerBlock collects the fragments of a block.
func (r *reading) headerBlock(h frameHeader) ([]byte, error) {
	n, pad, err := r.padding(h)
	if err != nil {
		return nil, err
	}
	if h.has(flagPriority) {
		const priorityLen = 5
		if n < priorityLen {
			return nil, &violation{CodeFrameSize, "HEADERS too short"}
		}
		if err := r.skip(priorityLen); err != nil {
			return nil, err
		}
		n -= priorityLen
	}
	block, err := r.fragment(nil, n)
	if err != nil {
		return nil, err
	}
	if err := r.skip(pad); err != nil {
		return nil, err
	}
	for end, i := h.has(flagEndHeaders), 0; !end; i++ {
		next, err := r.header()
		if err != nil {
			return nil, err
		}
		switch {
		case next.kind != frameContinuation, next.stream != h.stream:
			return nil, protocolError("header block interrupted")
		case i >= maxContinuations:
			return nil, &violation{CodeEnhanceYourCalm, "header block in too many pieces"}
		}
		if block, err = r.fragment(block, next.length); err != nil {
			return nil, err
		}
		end = next.has(flagEndHeaders)
	}
	return block, nil
}

func (r *reading) fragment(block []byte, n int) ([]byte, error) {
	if len(block)+n > maxHeaderBlock {
		return nil, &violation{CodeEnhanceYourCalm, "header block too long"}
	}
	start := len(block)
	block = append(block, make([]byte, n)...)
	_, err := io.ReadFull(r.c.net, block[start:])
	return block, noEOF(err)
}

// response gives a header list to its stream: an interim response, the response, or trailers.
func (c *Conn) response(h frameHeader, status string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[h.stream]
	if s == nil {
		return c.checkKnown(h.stream)
	}
	end := h.has(flagEndStream)
	switch {
	case s.ended:
		return c.punishLocked(s, &violation{CodeStreamClosed, "HEADERS after the end of the stream"})
	case s.status != 0 && !end:
		return c.punishLocked(s, protocolError("second response on a stream"))
	case s.status != 0: // trailers say nothing to us, but they end the stream
		s.endLocked()
		return nil
	}
	code, err := strconv.Atoi(status)
	switch {
	case err != nil, code < 100, code > 999, code < 200 && end:
		return c.punishLocked(s, protocolError("response without a final status"))
	case code < 200:
		return nil
	}
	s.status = code
	if end {
		s.endLocked()
	}
	s.signalReadable()
	return nil
}

// consumedLocked counts what was read of a stream and queues the credit that is due. The caller holds mu, and
// ends the connection if it fails.
func (c *Conn) consumedLocked(s *Stream, n int64) error {
	if s.ended || c.streams[s.id] != s {
		return nil
	}
	credit := s.recv.consumed(n, time.Now, c.rtt, c.budget)
	if credit == 0 {
		return nil
	}
	if err := c.measureLocked(); err != nil {
		return err
	}
	if c.debug {
		c.log.Debug("h2 window", "stream", s.id, "size", s.recv.size, "rtt", c.rtt)
	}
	id := s.id
	return c.out.queue(func(b []byte) []byte { return appendWindowUpdate(b, id, credit) })
}
