package h2

import (
	"encoding/binary"
)

// Settings (RFC 9113, section 6.5.2, and RFC 8441, section 3).
const (
	settingEnablePush           = 0x2
	settingMaxConcurrentStreams = 0x3
	settingInitialWindowSize    = 0x4
	settingMaxFrameSize         = 0x5
	settingMaxHeaderListSize    = 0x6
	settingEnableConnect        = 0x8

	settingLen = 6
)

// What we announce.
const (
	// ourMaxFrame lets the server send a Shadowsocks chunk with its WebSocket header in one frame.
	ourMaxFrame = 64 << 10
	// ourMaxHeaders bounds a response's header list, and half of it the block on the wire.
	ourMaxHeaders = 32 << 10
)

// peerSettings are the server's.
type peerSettings struct {
	maxStreams    uint32
	initialWindow int64
	maxFrame      int
	connect       bool // ENABLE_CONNECT_PROTOCOL
}

// defaultSettings are in force until the server's first SETTINGS.
func defaultSettings() peerSettings {
	return peerSettings{maxStreams: 1 << 31, initialWindow: defaultWindow, maxFrame: defaultMaxFrame}
}

// appendOurSettings appends our SETTINGS frame.
func appendOurSettings(b []byte, window int64) []byte {
	settings := [...]struct {
		id    uint16
		value uint32
	}{
		{settingEnablePush, 0},
		{settingInitialWindowSize, uint32(window)},
		{settingMaxFrameSize, ourMaxFrame},
		{settingMaxHeaderListSize, ourMaxHeaders},
	}
	b = frameHeader{length: settingLen * len(settings), kind: frameSettings}.appendTo(b)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	return b
}

// apply takes the settings in p over.
func (s *peerSettings) apply(p []byte) error {
	for ; len(p) >= settingLen; p = p[settingLen:] {
		if err := s.set(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	return nil
}

// set takes one setting over. Those that do not concern us are ignored: unknown ones, as section 6.5.2
// demands, and the size of the header table, since our encoder has none.
func (s *peerSettings) set(id uint16, value uint32) error {
	switch id {
	case settingEnablePush:
		if value != 0 {
			return protocolError("server enables push for itself")
		}
	case settingMaxConcurrentStreams:
		s.maxStreams = value
	case settingInitialWindowSize:
		if value > maxWindow {
			return &violation{CodeFlowControl, "initial window out of range"}
		}
		s.initialWindow = int64(value)
	case settingMaxFrameSize:
		if value < defaultMaxFrame || value >= 1<<24 {
			return protocolError("maximum frame size out of range")
		}
		s.maxFrame = int(value)
	case settingEnableConnect:
		return s.setConnect(value)
	}
	return nil
}

// setConnect takes ENABLE_CONNECT_PROTOCOL over, which a server must not take back (RFC 8441, section 3).
func (s *peerSettings) setConnect(value uint32) error {
	if value > 1 || value == 0 && s.connect {
		return protocolError("ENABLE_CONNECT_PROTOCOL out of range or taken back")
	}
	s.connect = value == 1
	return nil
}
