package h2

import (
	"io"
	"strconv"
	"time"
)

// padding reads the length of the padding of a frame and returns the lengths of what is in it.
func (r *reading) padding(h frameHeader) (payload, pad int, err error) {
	if !h.has(flagPadded) {
		return h.length, 0, nil
	}
	if h.length == 0 {
		return 0, 0, &connError{CodeFrameSize, "padded frame without a length"}
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
		return r.flood(r.skip(n + pad))
	}
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
	if err := r.c.dataDone(s, int64(h.length-n), h.has(flagEndStream)); err != nil || n > 0 {
		return err
	}
	return r.flood(nil)
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
		return nil, &connError{CodeFlowControl, "server sends more than the connection's window"}
	}
	if err := c.creditServer(n); err != nil {
		return nil, err
	}
	s := c.streams[h.stream]
	if s == nil {
		return nil, c.checkKnown(h.stream)
	}
	if !s.recv.arrived(n) {
		return nil, c.resetLocked(s, CodeFlowControl, &StreamError{CodeFlowControl})
	}
	if s.ended || !s.answered {
		return nil, c.resetLocked(s, CodeStreamClosed, &StreamError{CodeStreamClosed})
	}
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

// dataDone ends a DATA frame: unread is what no application will read of it.
func (c *Conn) dataDone(s *Stream, unread int64, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if end {
		s.endLocked()
	}
	return c.consumedLocked(s, unread)
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
		return &connError{CodeCompression, "header block cannot be decoded"}
	}
	if err := r.dec.Close(); err != nil {
		return &connError{CodeCompression, "header block is cut short"}
	}
	if r.fields.size > ourMaxHeaders {
		return &connError{CodeEnhanceYourCalm, "header list longer than announced"}
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
			return nil, &connError{CodeFrameSize, "HEADERS too short"}
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
		if next.kind != frameContinuation || next.stream != h.stream || i >= maxContinuations {
			return nil, protocolError("header block interrupted or in too many pieces")
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
		return nil, &connError{CodeEnhanceYourCalm, "header block too long"}
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
	if s.answered { // trailers say nothing to us, but they end the stream
		if !h.has(flagEndStream) {
			return protocolError("second response on a stream")
		}
		s.endLocked()
		return nil
	}
	code, err := strconv.Atoi(status)
	if err != nil || code < 100 || code > 999 {
		return c.resetLocked(s, CodeProtocol, protocolError("response without a status"))
	}
	if code < 200 {
		return nil
	}
	s.answered, s.status = true, code
	if h.has(flagEndStream) {
		s.endLocked()
	}
	s.signalReadable()
	return nil
}

// consumedLocked counts what was read of a stream and queues the credit that is due. The caller holds mu, and
// ends the connection if it fails.
func (c *Conn) consumedLocked(s *Stream, n int64) error {
	credit := s.recv.consumed(n, time.Now, c.rtt, c.budget)
	if credit == 0 || s.ended || s.closed {
		return nil
	}
	id := s.id
	return c.out.queue(func(b []byte) []byte { return appendWindowUpdate(b, id, credit) })
}
