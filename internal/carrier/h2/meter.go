package h2

import "time"

// bulkRate is the number of bytes within a second that makes a connection busy: small flows are better off on
// another one, because a lost TCP segment stalls all streams.
const bulkRate = 512 << 10

// meter counts bytes by the second.
type meter struct {
	second     int64
	last, this int64
}

func (m *meter) add(now time.Time, n int64) {
	m.advance(now)
	m.this += n
}

// busy reports whether this second or the one before was one of bulk.
func (m *meter) busy(now time.Time) bool {
	m.advance(now)
	return max(m.last, m.this) >= bulkRate
}

func (m *meter) advance(now time.Time) {
	second := now.Unix()
	switch second {
	case m.second:
		return
	case m.second + 1:
		m.last = m.this
	default:
		m.last = 0
	}
	m.second, m.this = second, 0
}
