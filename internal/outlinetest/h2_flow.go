package outlinetest

import "golang.org/x/net/http2"

// h2Flow is the flow control of a connection (RFC 9113, section 5.2), guarded by the mutex of the connection.
type h2Flow struct {
	// What we may send.
	send    int64                  // on the whole connection
	initial int64                  // on a new stream
	frame   int64                  // in one frame
	starved map[*h2Stream]struct{} // wait for send

	// What the client may send.
	window     int64   // on a stream, as we announced it last
	connWindow int64   // on the connection
	granted    int64   // window as the client has acknowledged it
	recv       int64   // on the connection, now; a client that sends more breaks the protocol
	unacked    int64   // taken by readers and not yet given back
	total      int64   // received, for Mux.ShrinkAfter
	awaited    []int64 // windows in SETTINGS that the client has not acknowledged
	shrunk     bool
}

// updateShare is the part of a window at which what was taken is given back.
const updateShare = 4

func newH2Flow(m Mux) h2Flow {
	f := h2Flow{
		send: h2InitialWindow, initial: h2InitialWindow, frame: h2MaxFrame,
		starved: make(map[*h2Stream]struct{}),
		window:  muxWindow, connWindow: muxWindow, granted: h2InitialWindow,
	}
	if m.Window > 0 {
		f.window = int64(m.Window)
	}
	if m.ConnWindow > 0 {
		f.connWindow = int64(m.ConnWindow)
	}
	f.connWindow = max(f.connWindow, h2InitialWindow)
	f.recv = f.connWindow
	return f
}

// await notes that SETTINGS with the window go out. They bind the client from its acknowledgement on.
func (f *h2Flow) await(window int64) { f.awaited = append(f.awaited, window) }

// due takes what is to be given back of a window of a size, if it is enough.
func due(unacked *int64, size int64) (uint32, bool) {
	n := *unacked
	if n == 0 || n < size/updateShare {
		return 0, false
	}
	*unacked = 0
	return uint32(n), true
}

// credit gives back n bytes of a stream, or of the connection alone if s is nil. h.mu is held.
func (h *h2Conn) credit(s *h2Stream, n int64) {
	h.flow.unacked += n
	if size, ok := due(&h.flow.unacked, h.flow.connWindow); ok {
		h.flow.recv += int64(size)
		h.out.control(func() error { return h.framer.WriteWindowUpdate(0, size) })
	}
	if s == nil || s.ended || s.err != nil {
		return
	}
	s.unacked += n
	if size, ok := due(&s.unacked, h.flow.window); ok {
		s.recv += int64(size)
		h.out.control(func() error { return h.framer.WriteWindowUpdate(s.id, size) })
	}
}

// received counts n bytes of DATA, padding included, against the connection and against s unless it is nil.
// h.mu is held.
func (h *h2Conn) received(s *h2Stream, n int64) error {
	if n > h.flow.recv {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	h.flow.recv -= n
	h.flow.total += n
	if s == nil {
		return nil
	}
	if n > s.recv {
		h.credit(nil, n)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	s.recv -= n
	if m := h.server.fault.load().Mux; m.ShrinkAfter > 0 && h.flow.total >= m.ShrinkAfter && !h.flow.shrunk {
		h.flow.shrunk = true
		h.setWindow(int64(m.ShrinkTo))
	}
	return nil
}

// setWindow announces another window for all streams. h.mu is held.
func (h *h2Conn) setWindow(window int64) {
	h.flow.window = window
	h.flow.await(window)
	h.out.control(func() error {
		return h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(window)})
	})
	for _, s := range h.streams {
		h.credit(s, 0) // what was too little to give back may now be all that the client waits for
	}
}

// settingsAcked applies the window of the oldest SETTINGS that the client had not acknowledged.
func (h *h2Conn) settingsAcked() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.flow.awaited) == 0 {
		h.blame("acknowledged SETTINGS that were not sent")
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	delta := h.flow.awaited[0] - h.flow.granted
	h.flow.granted, h.flow.awaited = h.flow.awaited[0], h.flow.awaited[1:]
	for _, s := range h.streams {
		s.recv += delta
	}
	return nil
}

// setInitial applies the client's INITIAL_WINDOW_SIZE, which may make windows negative. h.mu is held.
func (h *h2Conn) setInitial(window int64) error {
	delta := window - h.flow.initial
	h.flow.initial = window
	for _, s := range h.streams {
		s.send += delta
		if s.send > h2MaxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		s.wake.Broadcast()
	}
	return nil
}

// windowUpdate takes what the client gives back.
func (h *h2Conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.StreamID == 0 {
		h.flow.send += int64(f.Increment)
		if h.flow.send > h2MaxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for s := range h.flow.starved {
			s.wake.Broadcast()
		}
		return nil
	}
	s := h.streams[f.StreamID]
	if s == nil {
		return h.idle(f.StreamID)
	}
	s.send += int64(f.Increment)
	if s.send > h2MaxWindow {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	s.wake.Broadcast()
	return nil
}

// idle is nil for a stream that has been, and an error for one that never was. h.mu is held.
func (h *h2Conn) idle(id uint32) error {
	if id%2 == 1 && id <= h.lastID || h.leaving >= h2Final {
		return nil
	}
	return http2.ConnectionError(http2.ErrCodeProtocol)
}
