package h2

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

const ms = time.Millisecond

// pace is what an application reads of a window with a round trip of 100 ms.
type pace struct {
	each  int64 // bytes
	every time.Duration
	times int
}

func TestWindowGrows(t *testing.T) {
	const mb = 1 << 20
	tests := map[string]struct {
		budget int64
		rtt    time.Duration
		pace   pace
		want   int64
	}{
		"one window per round trip":    {1 << 30, 100 * ms, pace{256 << 10, 25 * ms, 100}, 2 * mb},
		"half a window per round trip": {1 << 30, 100 * ms, pace{256 << 10, 50 * ms, 100}, mb},
		"somewhat more than that":      {1 << 30, 100 * ms, pace{256 << 10, 45 * ms, 100}, 2 * mb},
		"a third per round trip":       {1 << 30, 100 * ms, pace{256 << 10, 75 * ms, 100}, mb},
		"a burst":                      {1 << 30, 100 * ms, pace{256 << 10, 0, 100}, mb},
		"all that comes":               {1 << 30, 100 * ms, pace{8 * mb, 20 * ms, 500}, maxStreamWindow},
		"round trip is not known":      {1 << 30, 0, pace{8 * mb, ms, 100}, mb},
		"budget is used up":            {3 * mb, 100 * ms, pace{8 * mb, 20 * ms, 500}, 2 * mb},
		"budget is short at first":     {mb, 100 * ms, pace{8 * mb, 20 * ms, 500}, mb},
		"budget is used up at once":    {0, 100 * ms, pace{8 * mb, 20 * ms, 500}, baseWindow},
		"budget for the first size":    {2 * (firstWindow - baseWindow), 100 * ms, pace{1, 0, 50}, mb},
		"budget is less than that":     {2*(firstWindow-baseWindow) - 2, 100 * ms, pace{1, 0, 9}, baseWindow},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			budget, now := NewBudget(tt.budget), time.Unix(1e9, 0)
			w, extra := newWindow(budget)
			told, used := baseWindow+extra, int64(0)
			for range tt.pace.times {
				now = now.Add(tt.pace.every)
				n := min(tt.pace.each, w.left)
				if !w.arrived(n) {
					t.Fatal("the window does not hold what it says")
				}
				used += n
				told += w.consumed(n, func() time.Time { return now }, tt.rtt, budget)
			}
			if w.size != tt.want {
				t.Errorf("window = %d, want %d", w.size, tt.want)
			}
			if w.left != told-used || w.left+w.owed != w.size {
				t.Errorf("left %d, owed %d of %d; the server knows of %d", w.left, w.owed, w.size, told-used)
			}
			w.release(budget)
			w.release(budget)
			if left := budget.left.Load(); left != tt.budget {
				t.Errorf("budget after release = %d, want %d", left, tt.budget)
			}
		})
	}
}

// TestSmallWindows: what is announced and what streams begin with are the budget's sizes.
func TestSmallWindows(t *testing.T) {
	const base, first, growth = 16 << 10, 128 << 10, 256 << 10
	budget := NewBudgetOf(Windows{Base: base, First: first, Growth: growth})
	inScript(t, Options{Budget: budget}, func(t *testing.T, p *script) {
		hello := p.take()
		if want := "\x00\x04\x00\x00\x40\x00"; !strings.Contains(string(hello[0].payload), want) {
			t.Errorf("SETTINGS %q do not announce a window of %d", hello[0].payload, base)
		}
	})
	for i, want := range []int64{first, base, base} { // half of the growth is not for the first size
		if w, extra := newWindow(budget); w.size != want || base+extra != want {
			t.Errorf("window %d = %d, told %d, want %d", i, w.size, base+extra, want)
		}
	}
}

// delayed connects two pipes by a line that takes its time each way.
func delayed(t *testing.T, each time.Duration) (a, b *transporttest.PipeConn) {
	t.Helper()
	a, nearEnd := transporttest.Pipe()
	farEnd, b := transporttest.Pipe()
	var lines sync.WaitGroup
	lines.Go(func() { line(nearEnd, farEnd, each) })
	lines.Go(func() { line(farEnd, nearEnd, each) })
	t.Cleanup(lines.Wait)
	return a, b
}

func line(from, to *transporttest.PipeConn, takes time.Duration) {
	type sent struct {
		data []byte
		at   time.Time
	}
	under := make(chan sent, 1<<16)
	var arriving sync.WaitGroup
	arriving.Go(func() {
		for s := range under {
			time.Sleep(time.Until(s.at.Add(takes)))
			_, _ = to.Write(s.data)
		}
		_ = to.CloseWrite()
	})
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if err != nil {
			break
		}
		under <- sent{buf[:n], time.Now()}
	}
	close(under)
	arriving.Wait()
}

// A download over a path of 100 ms is as fast as the window that it has grown to.
func TestDownloadOnALongPath(t *testing.T) {
	const rtt = 100 * ms
	for name, window := range map[string]int64{ // MB/s at this round trip
		"40":  4 << 20,
		"80":  8 << 20,
		"300": maxStreamWindow,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := delayed(t, rtt/2)
				c, server := startServerOn(t, a, b)
				c.budget = NewBudget(window - baseWindow)
				s, peer := openPair(t, c, server)
				var sending sync.WaitGroup
				sending.Go(func() { _, _ = io.Copy(peer, endless{}) })
				readFor(t, s, 8*rtt)
				got := readFor(t, s, 5*rtt) / 5
				if got < window*3/4 || got > window*5/4 {
					t.Errorf("bytes per round trip = %d, want about %d", got, window)
				}
				t.Logf("%d MB/s", got*int64(time.Second/rtt)/1e6)
				_ = s.Abort()
				if left := c.budget.left.Load(); left != window-baseWindow {
					t.Errorf("budget after the stream = %d, want %d", left, window-baseWindow)
				}
				sending.Wait()
			})
		})
	}
}

// readFor reads for some time and returns how much came.
func readFor(t *testing.T, s *Stream, takes time.Duration) (n int64) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for start := time.Now(); time.Since(start) < takes; {
		m, err := s.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		n += int64(m)
	}
	return n
}

// Under load no silence makes us ping, and the path may have become longer.
func TestRoundTripIsMeasuredUnderLoad(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		chunk := make([]byte, firstWindow/updateParts)
		load := func() {
			for sent := 0; sent < len(chunk); sent += 16 << 10 {
				p.data(s, string(chunk[:16<<10]))
			}
			if _, err := io.ReadFull(s, chunk); err != nil {
				t.Fatal(err)
			}
		}
		const longer = 200 * ms
		for range 20 {
			time.Sleep(measureAfter)
			load()
			ping := p.takeOne(http2.FramePing)
			time.Sleep(longer)
			load() // which has no ping under way twice
			p.do(p.fr.WritePing(true, [8]byte(ping.payload)))
			load() // nor one right after it
			if got := p.takeKind(http2.FramePing); len(got) > 0 {
				t.Fatalf("client sent %v", got)
			}
		}
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		if p.c.rtt < longer*9/10 || p.c.rtt > longer {
			t.Errorf("round trip = %v, want about %v", p.c.rtt, longer)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// The window of a slow application bounds what is held for it, and other streams go on.
func TestSlowApplicationStopsNobodyElse(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		slow, quick := p.open(), p.open()
		p.take()
		chunk := string(make([]byte, 16384))
		for range firstWindow / len(chunk) {
			p.data(slow, chunk)
		}
		p.c.mu.Lock()
		held, blocks := slow.inbox.size, len(slow.inbox.blocks)
		p.c.mu.Unlock()
		if held != firstWindow || blocks != firstWindow/blockSize {
			t.Errorf("held for a slow application: %d bytes in %d blocks, want %d in %d",
				held, blocks, firstWindow, firstWindow/blockSize)
		}
		buf := make([]byte, len(chunk))
		const bulk = connWindow + connWindow/2 // more than the connection's window
		credit, left := int64(0), int64(firstWindow)
		for moved := 0; moved < bulk; moved += len(chunk) {
			p.data(quick, chunk)
			if _, err := io.ReadFull(quick, buf); err != nil {
				t.Fatal(err)
			}
			left -= int64(len(chunk))
			for _, f := range p.takeKind(http2.FrameWindowUpdate) {
				switch f.StreamID {
				case 0:
					credit += f.increment()
				case quick.id:
					left += f.increment()
				default:
					t.Errorf("client sent WINDOW_UPDATE for stream %d, which nobody reads", f.StreamID)
				}
			}
			if left < int64(len(chunk)) {
				t.Fatal("the quick stream is out of window")
			}
		}
		if want := int64(bulk + firstWindow - connWindow/updateParts); credit < want {
			t.Errorf("credit for the connection = %d, want %d at least", credit, want)
		}
	})
}

// Padding counts, although no application ever reads it.
func TestPaddingIsCredited(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		const pad = 200
		frame := append([]byte{pad}, make([]byte, 1+pad)...)
		var credit int
		for range firstWindow / len(frame) * 3 {
			p.raw(http2.FrameData, http2.FlagDataPadded, s.id, frame)
			if _, err := s.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			for _, f := range p.takeKind(http2.FrameWindowUpdate) {
				credit += int(f.increment())
			}
		}
		if credit < 2*firstWindow {
			t.Errorf("credit = %d, want most of %d", credit, 3*firstWindow)
		}
		p.wantAlive()
	})
}

func TestMeter(t *testing.T) {
	var m meter
	at := func(seconds float64) time.Time { return time.UnixMilli(int64(1000 * seconds)) }
	for _, step := range []struct {
		at   float64
		n    int64
		busy bool
	}{
		{100.0, bulkRate - 1, false},
		{100.5, 1, true},
		{101.9, 0, true},
		{102.0, 0, false},
		{103.0, bulkRate, true},
		{200.0, 10, false},
	} {
		m.add(at(step.at), step.n)
		if got := m.busy(at(step.at)); got != step.busy {
			t.Errorf("busy at %v = %v, want %v", step.at, got, step.busy)
		}
	}
}
