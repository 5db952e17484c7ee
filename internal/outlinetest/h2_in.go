package outlinetest

import (
	"golang.org/x/net/http2"
)

// handle takes one frame. A StreamError resets the stream, another error ends the connection.
func (h *h2Conn) handle(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return h.headers(f)
	case *http2.DataFrame:
		return h.data(f)
	case *http2.WindowUpdateFrame:
		return h.windowUpdate(f)
	case *http2.SettingsFrame:
		return h.settings(f)
	case *http2.PingFrame:
		h.ping(f)
	case *http2.RSTStreamFrame:
		return h.rstStream(f)
	case *http2.GoAwayFrame:
		h.server.stats.update(func(t *Stats) { t.Mux.GoAways++ })
	case *http2.PushPromiseFrame:
		h.blame("a client cannot push")
		return http2.ConnectionError(http2.ErrCodeProtocol)
	default: // PRIORITY and what is unknown (RFC 9113, sections 5.3.2 and 5.5)
	}
	return nil
}

// headers opens a stream, or ends one with trailers.
func (h *h2Conn) headers(f *http2.MetaHeadersFrame) error {
	h.mu.Lock()
	s := h.streams[f.StreamID]
	if s != nil {
		defer h.mu.Unlock()
		if s.ended || !f.StreamEnded() {
			return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
		}
		s.ended = true
		s.settle()
		s.wake.Broadcast()
		return nil
	}
	if h.leaving >= h2Final {
		h.mu.Unlock()
		return nil
	}
	if f.StreamID%2 == 0 || f.StreamID <= h.lastID {
		h.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	h.lastID = f.StreamID
	refused := h.refuses()
	h.mu.Unlock()
	r, protocol, err := h.request(f)
	if err != nil {
		return err
	}
	if refused {
		h.abort(f.StreamID, http2.ErrCodeRefusedStream)
		return nil
	}
	h.start(f, asUpgrade(r, protocol))
	return nil
}

// refuses counts a stream and tells whether it is refused. h.mu is held.
func (h *h2Conn) refuses() bool {
	h.seen++
	if h.open >= h.maxStreams() {
		h.blame("more streams than MAX_CONCURRENT_STREAMS")
		return true
	}
	every := h.server.fault.load().Mux.RefuseEvery
	return every > 0 && h.seen%every == 0
}

// data takes a DATA frame; its padding counts (RFC 9113, section 6.1).
func (h *h2Conn) data(f *http2.DataFrame) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, n := h.streams[f.StreamID], int64(f.Length)
	if err := h.received(s, n); err != nil {
		return err
	}
	if s == nil {
		h.credit(nil, n)
		return h.idle(f.StreamID)
	}
	if s.ended {
		h.credit(nil, n)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	}
	_, _ = s.in.Write(f.Data())
	h.credit(s, n-int64(len(f.Data())))
	s.ended = f.StreamEnded()
	s.settle()
	s.wake.Broadcast()
	return nil
}

func (h *h2Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		h.server.stats.update(func(t *Stats) { t.Mux.SettingsAcks++ })
		return h.settingsAcked()
	}
	table := int64(-1)
	h.mu.Lock()
	err := f.ForeachSetting(func(setting http2.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			return h.setInitial(int64(setting.Val))
		case http2.SettingMaxFrameSize:
			// Larger frames than the smallest maximum gain a server nothing, and would fill buf.
			h.flow.frame = min(int64(setting.Val), h2MaxFrame)
		case http2.SettingHeaderTableSize:
			table = min(int64(setting.Val), h2HeaderTable)
		default:
		}
		return nil
	})
	h.mu.Unlock()
	if err != nil {
		return err
	}
	h.out.control(func() error {
		if table >= 0 {
			h.out.encoder.SetMaxDynamicTableSize(uint32(table))
		}
		return h.framer.WriteSettingsAck()
	})
	return nil
}

func (h *h2Conn) ping(f *http2.PingFrame) {
	if !f.IsAck() {
		h.server.stats.update(func(t *Stats) { t.Mux.Pings++ })
		data := f.Data
		if !h.server.fault.load().Mux.NoPingAck {
			h.out.control(func() error { return h.framer.WritePing(true, data) })
		}
		return
	}
	h.server.stats.update(func(t *Stats) { t.Mux.PingAcks++ })
	if f.Data == goAwayPing {
		h.leaveFinally()
	}
}

func (h *h2Conn) rstStream(f *http2.RSTStreamFrame) error {
	h.server.stats.reset(uint64(f.ErrCode))
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[f.StreamID]
	if s == nil {
		return h.idle(f.StreamID)
	}
	s.shut(errReset)
	return nil
}
