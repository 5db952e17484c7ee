package gate

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeMemory is as full as the test says.
type fakeMemory struct {
	mu          sync.Mutex
	used        int64
	resident    int64
	collected   int64 // what it is after a collection; 0 = the same
	collections uint64

	asked atomic.Int64 // to collect
}

func (m *fakeMemory) Use() (int64, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used, m.collections
}

func (m *fakeMemory) Resident() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.resident
}

func (m *fakeMemory) Collect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.Add(1)
	m.collections++
	if m.collected > 0 {
		m.resident = m.collected
	}
}

// grow has the process take more, until a collection.
func (m *fakeMemory) grow(resident, collected int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resident, m.collected = resident, collected
}

func (m *fakeMemory) set(used, resident int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used, m.resident = used, resident
	m.collections++
}

// watched is a gate with the memory and the log of a test.
type watched struct {
	*Gate
	memory  fakeMemory
	log     strings.Builder
	cuts    atomic.Int64 // how often flows were to be given up
	running sync.WaitGroup
}

func watchIt(ctx context.Context, t *testing.T, l Limits) *watched {
	t.Helper()
	w := new(watched)
	w.Gate = New(Options{
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Memory: &w.memory,
		GiveUp: func(in int, cause error) int {
			if in != oneIn || !errors.Is(cause, ErrMemory) {
				t.Errorf("GiveUp(%d, %v), want (%d, %v)", in, cause, oneIn, ErrMemory)
			}
			w.cuts.Add(1)
			return 7
		},
	})
	w.Update(l)
	w.running.Go(func() { _ = w.Run(ctx) })
	return w
}

// inWatch runs a test with a gate that is watched.
func inWatch(t *testing.T, l Limits, test func(t *testing.T, w *watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		w := watchIt(ctx, t, l)
		test(t, w)
		stop()
		w.running.Wait()
	})
}

// settle lets the gate look.
func settle() {
	time.Sleep(lookEvery)
	synctest.Wait()
}

func TestShortMemoryShutsTheGate(t *testing.T) {
	inWatch(t, Limits{Heap: 1000, Process: 2000}, func(t *testing.T, w *watched) {
		for used, resident := range map[int64]int64{875: 1900, 900: 1665} { // garbage, and never touched
			w.memory.set(used, resident)
			settle()
			must(t, w.Gate, "tcp")
		}
		w.memory.set(876, 1666)
		settle()
		if s := w.Stats(); !s.Short {
			t.Errorf("Stats() = %+v, want memory to be short", s)
		}
		for _, proto := range []string{"tcp", "udp"} {
			if _, err := w.Enter(t.Context(), proto); !errors.Is(err, ErrMemory) {
				t.Errorf("Enter(%s) = %v, want %v", proto, err, ErrMemory)
			}
		}
		waiting := enter(t.Context(), w.Gate)
		settle()
		w.memory.set(700, 1600)
		if in := <-waiting; in.err != nil || in.after > 2*lookEvery+again {
			t.Errorf("Enter = %v after %v, want to be let in", in.err, in.after)
		}
		if s := w.Stats(); s.TCP.RefusedMemory != 1 || s.UDP.RefusedMemory != 1 || s.Short {
			t.Errorf("Stats() = %+v, want one refused each", s)
		}
		if w.cuts.Load() > 0 {
			t.Error("flows were cut, although memory did not run out")
		}
	})
}

// TestCollectsForThoseWhoWait: what left without a trace is found by a collection, which nobody else runs
// while nothing is allocated.
func TestCollectsForThoseWhoWait(t *testing.T) {
	inWatch(t, Limits{Heap: 1000, Process: 2000}, func(t *testing.T, w *watched) {
		w.memory.set(900, 1700)
		time.Sleep(10 * time.Second)
		if n := w.memory.asked.Load(); n > 0 {
			t.Errorf("%d collections for nobody", n)
		}
		_, _ = w.Enter(t.Context(), "tcp")
		most := int64(patience/stale) + 1
		if n := w.memory.asked.Load(); n == 0 || n > most {
			t.Errorf("%d collections while a flow waited, want 1 to %d", n, most)
		}
	})
}

// TestNewestFlowsAreGivenUp: some at once, and more when those had time to end and a collection has shown
// what that brought.
func TestNewestFlowsAreGivenUp(t *testing.T) {
	inWatch(t, Limits{Heap: 1000, Process: 2000}, func(t *testing.T, w *watched) {
		cuts := func(when string, want int64) {
			t.Helper()
			settle()
			if n := w.cuts.Load(); n != want {
				t.Fatalf("cut %d times %s, want %d", n, when, want)
			}
		}
		time.Sleep(mercy)
		w.memory.set(1200, 2000)
		cuts("before there was danger", 0)
		w.memory.set(1200, 2001)
		cuts("in danger", 1)
		before := w.memory.asked.Load()
		time.Sleep(mercy - 2*lookEvery)
		cuts("before those had time to end", 1)
		if w.memory.asked.Load() == before {
			t.Error("no collection looks for what that brought")
		}
		cuts("when they had time", 2)
		w.memory.set(1200, 2000)
		time.Sleep(2 * mercy)
		cuts("out of danger", 2)
		w.memory.set(800, 2100)
		time.Sleep(2 * mercy)
		cuts("when it is garbage", 2)
		if got, want := w.Stats().GivenUp, uint64(14); got != want {
			t.Errorf("GivenUp = %d, want %d", got, want)
		}
		const line = `level=WARN msg="newest flows cut" reason="memory is short" flows=7`
		if !strings.Contains(w.log.String(), line) {
			t.Errorf("log = %s, want %s", &w.log, line)
		}
	})
}

// TestCollectsBeforeItGivesUp: stacks grow without an allocation that would have them collected.
func TestCollectsBeforeItGivesUp(t *testing.T) {
	inWatch(t, Limits{Heap: 1000, Process: 2000}, func(t *testing.T, w *watched) {
		w.memory.set(900, 1700)
		settle()
		w.memory.grow(2100, 1800) // as long as nobody collects
		time.Sleep(2 * mercy)
		synctest.Wait()
		if cut, asked := w.cuts.Load(), w.memory.asked.Load(); cut > 0 || asked != 1 {
			t.Errorf("cut %d times after %d collections, want 0 after 1", cut, asked)
		}
	})
}

// TestRefusalsAreLoggedNowAndThen: many refusals are one line with their number.
func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	inWatch(t, Limits{Streams: 1, Waiting: 1}, func(t *testing.T, w *watched) {
		must(t, w.Gate, "tcp")
		go func() { _, _ = w.Enter(t.Context(), "tcp") }()
		refuse := func(n int) {
			for range n {
				synctest.Wait()
				_, _ = w.Enter(t.Context(), "tcp")
			}
			settle()
		}
		refuse(1)
		for range 5 {
			refuse(20)
		}
		time.Sleep(complaintInterval)
		synctest.Wait()
		lines := strings.Count(w.log.String(), "flows refused")
		if lines != 2 && lines != 3 {
			t.Errorf("%d lines, want the first refusal and then their number:\n%s", lines, &w.log)
		}
		if want := `reason="too many flows"`; !strings.Contains(w.log.String(), want) {
			t.Errorf("log = %s, want %s", &w.log, want)
		}
	})
}

// TestNoLimitsNoWork: a gate without limits looks at nothing, also when they are taken away.
func TestNoLimitsNoWork(t *testing.T) {
	inWatch(t, Limits{Heap: 1000, Process: 2000}, func(t *testing.T, w *watched) {
		w.memory.set(900, 1700)
		settle()
		w.Update(Limits{})
		synctest.Wait()
		began := time.Now()
		must(t, w.Gate, "tcp")
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a flow waited %v for nothing", waited)
		}
	})
}

// TestRuntimeMemory: what is held counts, and garbage does not.
func TestRuntimeMemory(t *testing.T) {
	m := newRuntimeMemory()
	use := func() int64 {
		m.Collect()
		used, _ := m.Use()
		return used
	}
	const size, slack = 32 << 20, 4 << 20
	before := use()
	held := bytes.Repeat([]byte{1}, size)
	if got := use() - before; got < size-slack || got > size+slack {
		t.Errorf("%d bytes more in use, want %d", got, size)
	}
	for name, got := range map[string]int64{"Resident": m.Resident(), "mapped": m.mapped()} {
		if got < size || got > 32*size {
			t.Errorf("%s() = %d with %d bytes in use", name, got, size)
		}
	}
	runtime.KeepAlive(held) // and it is garbage from here on
	if got := use() - before; got > slack {
		t.Errorf("%d bytes more in use behind garbage, want 0", got)
	}
	_, cycles := m.Use()
	m.Collect()
	if _, now := m.Use(); now <= cycles {
		t.Errorf("%d collections after one more, before there were %d", now, cycles)
	}
}

func BenchmarkLook(b *testing.B) {
	m := newRuntimeMemory()
	b.ReportAllocs()
	for b.Loop() {
		m.Use()
		m.Resident()
	}
}
