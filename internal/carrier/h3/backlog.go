package h3

import "time"

const (
	// maxBacklog is how much may wait for the connection's goroutine: quic-go drops what comes when 256
	// packets wait, some 320 KiB, and every drop is a loss that makes the server slow down. What we do not
	// read the kernel keeps, in a buffer that is twenty times as large.
	maxBacklog = 160 << 10
	// pollTime is how often to look whether the backlog has shrunk.
	pollTime = 100 * time.Microsecond
	// stallTime is how long it may not shrink. Then our count is wrong, because some packets were for nobody;
	// a goroutine that gets no processor for a while must not look like that.
	stallTime = 50 * time.Millisecond
)

// backlog is what was read from a socket and is not processed yet. Measured over a path of 100 ms on a busy
// machine, a download with the wait reaches 65 to 100 MB/s, and 17 to 45 MB/s without. It belongs to the
// goroutine that reads.
type backlog struct {
	processed func() uint64 // bytes so far
	delivered uint64        // likewise
}

// wait returns when the backlog is small enough to add to.
func (b *backlog) wait() {
	before, stalled := uint64(0), time.Duration(0)
	for {
		processed := b.processed()
		if b.delivered <= processed+maxBacklog {
			return
		}
		if processed != before {
			before, stalled = processed, 0
		}
		if stalled >= stallTime {
			b.delivered = processed
			return
		}
		time.Sleep(pollTime)
		stalled += pollTime
	}
}

// add counts bytes that were read.
func (b *backlog) add(n int) { b.delivered += uint64(n) }
