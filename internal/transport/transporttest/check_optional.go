package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func headroomChecks() []check {
	return []check{
		{"write with headroom", headroomSizes},
		{"write with headroom among plain writes", headroomMixed},
		{"write with headroom after CloseWrite", headroomAfterEnd},
	}
}

// maxHeadroomPayload keeps the buffers of a writer without a largest unit small.
const maxHeadroomPayload = 64 << 10

func (p *pair) headroomWriter() (transport.HeadroomWriter, transport.Headroom, error) {
	w, ok := p.a.(transport.HeadroomWriter)
	if !ok {
		return nil, transport.Headroom{}, fmt.Errorf("transport.HeadroomWriter: %w", errNotImplemented)
	}
	h := w.Headroom()
	if h.Front < 0 || h.Back < 0 || h.Max <= 0 {
		return nil, h, fmt.Errorf("Headroom() = %+v, want no negative room and a positive Max", h)
	}
	return w, h, nil
}

func headroomSizes(p *pair) error {
	w, h, err := p.headroomWriter()
	if err != nil {
		return err
	}
	largest := min(h.Max, maxHeadroomPayload)
	for _, more := range []int{0, 1, 37} {
		for _, n := range []int{0, 1, min(small, largest), largest} {
			want := payload(n)
			write := inPlace(w, want, h.Front+more, h.Back+more)
			if err := p.together(write, expect(p.b, want)); err != nil {
				return fmt.Errorf("%d bytes with %d bytes more room than %+v: %w", n, more, h, err)
			}
		}
	}
	if again := w.Headroom(); again != h {
		return fmt.Errorf("Headroom() = %+v and later %+v, want a constant", h, again)
	}
	return nil
}

func headroomMixed(p *pair) error {
	w, h, err := p.headroomWriter()
	if err != nil {
		return err
	}
	part := payload(min(small, h.Max))
	want := slices.Concat(part, part, part, part)
	return p.together(expectAll(p.b, want), func() error {
		for range 2 {
			if err := inPlace(w, part, h.Front, h.Back)(); err != nil {
				return err
			}
			if err := send(p.a, part)(); err != nil {
				return err
			}
		}
		return p.a.CloseWrite()
	})
}

func headroomAfterEnd(p *pair) error {
	w, h, err := p.headroomWriter()
	if err != nil {
		return err
	}
	if err := p.together(p.a.CloseWrite, expectAll(p.b, nil)); err != nil {
		return err
	}
	return wantError("write with headroom after CloseWrite", inPlace(w, payload(1), h.Front, h.Back)())
}

// inPlace writes p from the middle of a buffer, checks that nothing behind the buffer changed, and then
// overwrites the buffer, which is its owner's again.
func inPlace(w transport.HeadroomWriter, p []byte, front, back int) func() error {
	return func() error {
		guard := []byte("behind the buffer")
		all := slices.Concat(make([]byte, front), p, make([]byte, back), guard)
		buf := all[:front+len(p)+back]
		if err := w.WriteHeadroom(buf, front, back); err != nil {
			return fmt.Errorf("write %d bytes with headroom: %w", len(p), err)
		}
		if !bytes.Equal(all[len(buf):], guard) {
			return errors.New("write with headroom changed bytes behind the buffer")
		}
		clear(buf)
		return nil
	}
}

func waitReadChecks() []check {
	return []check{
		{"wait for data", waitForData},
		{"wait for the end", waitForEnd},
		{"wait until close", waitUntilClose},
		{"wait until abort of b", waitUntilAbort},
		{"wait until the deadline", waitUntilDeadline},
	}
}

func (p *pair) waitReader() (transport.WaitReader, error) {
	r, ok := p.a.(transport.WaitReader)
	if !ok {
		return nil, fmt.Errorf("transport.WaitReader: %w", errNotImplemented)
	}
	return r, nil
}

func waitForData(p *pair) error {
	r, err := p.waitReader()
	if err != nil {
		return err
	}
	for _, n := range []int{1, small, big} {
		waited := p.start(r.WaitRead)
		select {
		case err := <-waited:
			return fmt.Errorf("wait without data: returned with error %w, want it to block", orNone(err))
		case <-time.After(settle):
		}
		want := payload(n)
		err := p.together(send(p.b, want), func() error {
			if err := <-waited; err != nil {
				return fmt.Errorf("wait: %w", err)
			}
			if err := r.WaitRead(); err != nil {
				return fmt.Errorf("wait while data is there: %w", err)
			}
			return expect(p.a, want)()
		})
		if err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	return nil
}

func waitForEnd(p *pair) error {
	r, err := p.waitReader()
	if err != nil {
		return err
	}
	return p.together(p.b.CloseWrite, func() error {
		if err := r.WaitRead(); err != nil && err != io.EOF { //nolint:errorlint // as Read returns it
			return fmt.Errorf("wait for the end: %w", err)
		}
		return expectAll(p.a, nil)()
	})
}

func waitUntilClose(p *pair) error {
	return p.waitBroken("close", func() { _ = p.a.Close() })
}

func waitUntilAbort(p *pair) error {
	return p.waitBroken("abort of b", func() { _ = transport.Abort(p.b) })
}

// waitBroken demands that what breaks the stream ends a wait, and that the wait or the read behind it says
// so.
func (p *pair) waitBroken(what string, breakIt func()) error {
	r, err := p.waitReader()
	if err != nil {
		return err
	}
	waited := p.start(r.WaitRead)
	<-time.After(settle)
	breakIt()
	if err := <-waited; err != nil {
		return wantBroken("wait during "+what, err)
	}
	return wantBroken("read after "+what, readOne(p.a)())
}

func waitUntilDeadline(p *pair) error {
	r, err := p.waitReader()
	if err != nil {
		return err
	}
	if err := p.a.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}
	if err := wantTimeout("wait", r.WaitRead()); err != nil {
		return err
	}
	return p.readsAgain()
}
