package app

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h3"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/gate"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestMemoryOf(t *testing.T) {
	const mib = 1 << 20
	const limit, own = 64 * mib, 46 * mib
	if got := memoryOf(0, flowH2); got != (memory{}) {
		t.Errorf("memoryOf(0) = %+v, want nothing", got)
	}
	got := memoryOf(limit, flowH2)
	want := memory{
		heap: own / 16 * 15,
		windows: windows{
			h2: h2.Windows{Base: 16 << 10, First: 64 << 10, Growth: 2 * mib},
			h3: h3.Windows{First: 16 << 10, Most: 64 << 10, Conn: 4 * mib},
		},
		socket:  64 << 10,
		tunnel:  4 * mib,
		flows:   gate.Limits{Streams: 2355, Packets: 147, Waiting: 73, Process: own, Heap: own / 16 * 15},
		outside: 147,
	}
	if got != want {
		t.Errorf("memoryOf(64 MiB) = %+v, want %+v", got, want)
	}
}

// TestMemoryGrows: more memory is less of nothing.
func TestMemoryGrows(t *testing.T) {
	sizes := func(m memory) []int64 {
		return []int64{
			m.heap, m.flows.Heap, m.flows.Process,
			int64(m.flows.Streams), int64(m.flows.Packets), int64(m.outside), int64(m.socket),
			m.windows.h2.Base, m.windows.h2.First, m.windows.h2.Growth,
			int64(m.windows.h3.First), int64(m.windows.h3.Most), int64(m.windows.h3.Conn),
		}
	}
	before := sizes(memoryOf(32<<20, flowH2))
	for limit := int64(33 << 20); limit < plenty; limit += 31 << 20 {
		now := sizes(memoryOf(limit, flowH2))
		for i := range now {
			if now[i] < before[i] {
				t.Errorf("memoryOf(%d) = %v, after %v", limit, now, before)
			}
		}
		before = now
	}
}

// TestPlenty: from there on the windows are the usual ones, and just below it they nearly are.
func TestPlenty(t *testing.T) {
	if got := memoryOf(plenty, flowH2); got.windows != (windows{}) {
		t.Errorf("memoryOf(1 GiB) = %+v, want the usual windows", got)
	}
	w := memoryOf(plenty-1, flowH2).windows.h2
	if w.Base < 255<<10 || w.Growth < windowBudget/4-1 || w.First < w.Base {
		t.Errorf("windows just below 1 GiB are %+v, want nearly the usual ones", w)
	}
	if got := memoryOf(1<<40, flowH2); got.flows.Streams != maxFlows || got.outside != maxFlows {
		t.Errorf("memoryOf(1 TiB) = %+v, want %d flows", got, maxFlows)
	}
}

func TestGroupMemory(t *testing.T) {
	const group = "0::/user.slice/app.scope\n"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tests := []struct {
		name  string
		files fstest.MapFS
		want  int64
	}{
		{"no groups", fstest.MapFS{}, 0},
		{"version 1", fstest.MapFS{"proc/self/cgroup": file("4:memory:/docker/abc\n1:cpu:/\n")}, 0},
		{"no limit", fstest.MapFS{
			"proc/self/cgroup": file(group),
			"sys/fs/cgroup/user.slice/app.scope/memory.max": file("max\n"),
		}, 0},
		{"its own", fstest.MapFS{
			"proc/self/cgroup": file("1:name=systemd:/\n" + group),
			"sys/fs/cgroup/user.slice/app.scope/memory.max": file("67108864\n"),
			"sys/fs/cgroup/user.slice/memory.max":           file("max\n"),
		}, 64 << 20},
		{"that of a parent", fstest.MapFS{
			"proc/self/cgroup": file(group),
			"sys/fs/cgroup/user.slice/app.scope/memory.max": file("134217728\n"),
			"sys/fs/cgroup/user.slice/memory.max":           file("67108864\n"),
		}, 64 << 20},
		{"in a container", fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("67108864\n"),
		}, 64 << 20},
		{"in a container that sees the host's names", fstest.MapFS{
			"proc/self/cgroup":         file("0::/docker/abc\n"),
			"sys/fs/cgroup/memory.max": file("67108864\n"),
		}, 64 << 20},
		{"out of sight", fstest.MapFS{
			"proc/self/cgroup":         file("0::/../other\n"),
			"sys/fs/cgroup/memory.max": file("67108864\n"),
		}, 64 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := groupMemory(tt.files); got != tt.want {
				t.Errorf("groupMemory = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestFlowSize(t *testing.T) {
	tests := []struct {
		name string
		urls []string // of TCP; "" = UDP alone
		want int64
	}{
		{"http/1.1", []string{"wss://a.example/tcp"}, flowH1},
		{"http/2", []string{"wss://a.example/tcp?h2=1"}, flowH2},
		{"http/3", []string{"wss://a.example/tcp?h3=1"}, flowH3},
		{"several", []string{"wss://a.example/tcp?h2=only", "wss://b.example/tcp?h3=only", ""}, flowH3},
		{"one over http/1.1", []string{"wss://a.example/tcp", "wss://b.example/tcp?h3=1"}, flowH1},
		{"udp alone", []string{""}, flowH2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := new(config.Config)
			for _, u := range tt.urls {
				c.Upstreams = append(c.Upstreams, config.Upstream{TCP: config.NewURL(u)})
			}
			if got := flowSize(c); got != tt.want {
				t.Errorf("flowSize = %d, want %d", got, tt.want)
			}
			if n := int64(memoryOf(64<<20, tt.want).flows.Streams); n != 46<<20/tt.want {
				t.Errorf("%d flows in 64 MiB, want %d", n, 46<<20/tt.want)
			}
		})
	}
}

func TestMemoryLimitOfAConfiguration(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "100MiB")
	for _, tt := range []struct{ set, want int64 }{{config.MemoryAuto, 0}, {0, 0}, {64 << 20, 64 << 20}} {
		if got := memoryLimit(&config.Config{MemoryLimit: tt.set}); got != tt.want {
			t.Errorf("memoryLimit(%d) with GOMEMLIMIT = %d, want %d", tt.set, got, tt.want)
		}
	}
}

// TestHeapLimit: without a limit of ours the one from before is in force, and is not even touched at first.
func TestHeapLimit(t *testing.T) {
	inForce, calls := int64(math.MaxInt64), 0
	h := heapLimit{set: func(n int64) int64 {
		before := inForce
		inForce = n
		calls++
		return before
	}}
	h.use(0)
	if calls > 0 {
		t.Error("no limit was put into force")
	}
	for _, limit := range []int64{100, 200, 0, 300, 0} {
		h.use(limit)
		want := limit
		if limit == 0 {
			want = math.MaxInt64
		}
		if inForce != want {
			t.Errorf("use(%d) puts %d into force, want %d", limit, inForce, want)
		}
	}
}

// TestMemoryLimitIsReloaded: more flows than there is room for are refused, until there is more room.
func TestMemoryLimitIsReloaded(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	s := startServer(t, outlinetest.Config{})
	upstreams := "upstreams:\n" + entry(t, s)
	c := startClient(t, "127.0.0.1:0", "memory_limit: 512MiB\n"+upstreams)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	first := connect(t, c, echo.Addr())
	ask(t, first, "before")
	if got, want := debug.SetMemoryLimit(-1), memoryOf(512<<20, flowH1).heap; got != want {
		t.Errorf("limit of the runtime = %d, want %d", got, want)
	}

	limits := memoryOf(512<<20, flowH2).flows
	limits.Streams, limits.Waiting = 1, 1
	c.app.gate.Update(limits)
	const generalFailure = 1
	if _, code, _ := request(t, c, 1, echo.Addr()); code != generalFailure {
		t.Errorf("a flow without a place: reply %d, want %d", code, generalFailure)
	}
	c.log.wait(t, "flows refused", "too many flows", "flows=1")
	if got := c.app.gate.Stats().TCP; got.RefusedFlows != 1 || got.Inside != 1 {
		t.Errorf("Stats().TCP = %+v, want one inside and one refused", got)
	}

	reload(t, c, "127.0.0.1:0", "memory_limit: 0\n"+upstreams)
	ask(t, first, "after")
	ask(t, connect(t, c, echo.Addr()), "another")
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("limit of the runtime = %d without one of ours, want %d", got, before)
	}
}
