package transporttest

import (
	"fmt"
	"sync/atomic"
	"time"
)

// soon is a deadline in the near future.
const soon = 50 * time.Millisecond

// longAgo is a deadline in the past, and the one that people use to unblock I/O.
var longAgo = time.Unix(1, 0)

func deadlineChecks() []check {
	return []check{
		{"read deadline in the past", pastReadDeadline},
		{"read deadline in the future", futureReadDeadline},
		{"read deadline moved to the past during a read", readDeadlineDuringRead},
		{"write deadline in the past", pastWriteDeadline},
		{"write deadline in the future", futureWriteDeadline},
		{"write deadline moved to the past during a write", writeDeadlineDuringWrite},
		{"deadline of both", deadlineOfBoth},
		{"deadline that is far away", distantDeadline},
	}
}

func pastReadDeadline(p *pair) error {
	if err := p.a.SetReadDeadline(longAgo); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}
	for range 2 {
		if err := wantTimeout("read", readOne(p.a)()); err != nil {
			return err
		}
	}
	if err := p.carry(p.a, p.b, small); err != nil {
		return fmt.Errorf("write under a read deadline: %w", err)
	}
	return p.readsAgain()
}

func futureReadDeadline(p *pair) error {
	began := time.Now()
	if err := p.a.SetReadDeadline(began.Add(soon)); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}
	if err := wantTimeout("read", readOne(p.a)()); err != nil {
		return err
	}
	if took := time.Since(began); took < soon {
		return fmt.Errorf("read: timed out after %v, want %v", took, soon)
	}
	return p.readsAgain()
}

func readDeadlineDuringRead(p *pair) error {
	read := p.start(readOne(p.a))
	<-time.After(settle)
	if err := p.a.SetReadDeadline(longAgo); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}
	if err := wantTimeout("read", <-read); err != nil {
		return err
	}
	return p.readsAgain()
}

// readsAgain clears the read deadline; a timeout must not have harmed the stream.
func (p *pair) readsAgain() error {
	if err := p.a.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear read deadline: %w", err)
	}
	if err := p.carry(p.b, p.a, 16<<10); err != nil {
		return fmt.Errorf("after the timeout: %w", err)
	}
	return nil
}

// A timeout may break a stream for later writes, as it does with TLS, where part of a record may have left.
// So no check writes again after one.

func pastWriteDeadline(p *pair) error {
	if err := p.a.SetWriteDeadline(longAgo); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if err := p.carry(p.b, p.a, small); err != nil {
		return fmt.Errorf("read under a write deadline: %w", err)
	}
	_, err := p.a.Write(payload(small))
	return wantTimeout("write", err)
}

func futureWriteDeadline(p *pair) error {
	began := time.Now()
	if err := p.a.SetWriteDeadline(began.Add(soon)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if err := wantTimeout("write to a peer that does not read", flood(p.a, nil)()); err != nil {
		return err
	}
	if took := time.Since(began); took < soon {
		return fmt.Errorf("write: timed out after %v, want %v", took, soon)
	}
	return nil
}

func writeDeadlineDuringWrite(p *pair) error {
	var written atomic.Int64
	wrote := p.start(flood(p.a, &written))
	untilBlocked(&written)
	if err := p.a.SetWriteDeadline(longAgo); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	return wantTimeout("write to a peer that does not read", <-wrote)
}

func deadlineOfBoth(p *pair) error {
	if err := p.a.SetDeadline(longAgo); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if err := wantTimeout("read", readOne(p.a)()); err != nil {
		return err
	}
	_, err := p.a.Write(payload(small))
	return wantTimeout("write", err)
}

func distantDeadline(p *pair) error {
	if err := p.a.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	return bothWays(p)
}
