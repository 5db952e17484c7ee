package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// randomFlows is enough to find what was ever wrong with replays. A change of them deserves a hundred times
// as many.
const randomFlows = 600

// TestRandomFlows has random clients meet random servers, and checks what every flow promises: no byte is
// lost or comes twice, nothing unsafe is given to two servers, and no end is clean that was none.
func TestRandomFlows(t *testing.T) {
	for seed := range uint64(randomFlows) {
		c := &chance{r: rand.New(rand.NewPCG(seed, 0))}
		o := testOptions()
		o.Failover.Replay = Replay(c.n(3))
		o.Failover.Hedge = time.Duration(c.n(4)/3) * 50 * ms
		inBubble(t, 1+c.n(3), o, func(t *testing.T, s *setup) {
			v := &visit{chance: c, replay: o.Failover.Replay}
			v.run(t, s)
			if t.Failed() {
				t.Logf("seed %d: %s", seed, v)
			}
		})
	}
}

// chance decides.
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (c *chance) n(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}

func (c *chance) pause() time.Duration {
	return []time.Duration{0, 0, ms, 100 * ms, 1500 * ms, 5 * time.Second}[c.n(6)]
}

// visit is a flow with all that meets it.
type visit struct {
	*chance
	replay Replay
	parts  []string
	whole  string // of the parts
	safe   int    // bytes of it that may be sent twice
	half   bool   // the client ends its half behind it

	got               strings.Builder
	readErr, writeErr error
	over              bool // the answer ended

	mu    sync.Mutex
	calls []*call
}

// call is one connection at a server.
type call struct {
	at    string
	id    int
	kind  int
	conn  *transporttest.PipeConn
	mu    sync.Mutex
	more  *sync.Cond // got has grown, or end is set
	got   []byte
	end   error // how what came ended
	clean bool  // the server ended its half
	broke bool  // it reset the connection
}

func (v *visit) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := fmt.Sprintf("replay %d, %.20q..., end %v", v.replay, v.parts, v.half)
	for _, c := range v.calls {
		c.mu.Lock()
		s += fmt.Sprintf("\n%s, kind %d: %d bytes, %v", c.at, c.kind, len(c.got), c.end)
		c.mu.Unlock()
	}
	return s
}

// serve is a server that does something.
func (v *visit) serve(at string) func(*transporttest.PipeConn) {
	return func(conn *transporttest.PipeConn) {
		c := &call{at: at, kind: v.n(7), conn: conn}
		c.more = sync.NewCond(&c.mu)
		v.mu.Lock()
		c.id = len(v.calls)
		v.calls = append(v.calls, c)
		v.mu.Unlock()
		var receiving sync.WaitGroup
		receiving.Go(c.receive)
		defer receiving.Wait()
		pause := v.pause()
		if c.kind != 0 && c.kind != 5 { // these say or do something before the client does
			c.await(1 + v.n(100))
		}
		time.Sleep(pause)
		switch c.kind {
		case 0, 1:
			c.abort()
		case 2: // says nothing
		case 3:
			c.finish()
		case 4, 5:
			c.answer()
			if c.await(1<<30) == io.EOF { //nolint:errorlint // as a reader returns it
				c.finish()
			}
		case 6:
			c.answer()
			time.Sleep(pause)
			c.abort()
		}
	}
}

func (c *call) receive() {
	buf := make([]byte, 20_000)
	for {
		n, err := c.conn.Read(buf)
		c.mu.Lock()
		c.got, c.end = append(c.got, buf[:n]...), err
		c.more.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits for so many bytes, or the end.
func (c *call) await(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.end == nil && len(c.got) < n {
		c.more.Wait()
	}
	return c.end
}

func (c *call) answer() { _, _ = fmt.Fprintf(c.conn, "answer-%d;", c.id) }

func (c *call) abort() {
	c.mu.Lock()
	c.broke = true
	c.mu.Unlock()
	_ = c.conn.Abort()
}

func (c *call) finish() {
	c.mu.Lock()
	c.clean = true
	c.mu.Unlock()
	_ = c.conn.CloseWrite()
}

// run has the flow take place, and what is known of the upstreams change under it.
func (v *visit) run(t *testing.T, s *setup) {
	for _, f := range s.ups {
		f.serve = v.serve(f.name)
		kind, pause := v.n(6), v.pause()
		f.dial = func(ctx context.Context) error {
			switch kind {
			case 0:
				return syscall.ECONNREFUSED
			case 1:
				return blackhole(ctx)
			}
			time.Sleep(pause)
			return nil
		}
	}
	for range v.n(4) {
		f, event := s.ups[v.n(len(s.ups))], v.n(3)
		time.AfterFunc(v.pause(), func() {
			f.happens(event)
			s.streams.tend(time.Now())
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.DialStream(ctx, target)
	if err != nil {
		return // nobody was there
	}
	v.talk(conn)
	v.check(t)
	_ = transport.Abort(conn)
	for _, p := range s.streams.lineup.Load().paths {
		if n := len(p.flows); n > 0 {
			t.Errorf("%d flows are still counted on %s", n, p.name)
		}
	}
}

// happens is an event that a path's record hears of.
func (f *fakeUpstream) happens(event int) {
	switch event {
	case 0:
		f.record.FlowFailed(time.Now(), syscall.ECONNRESET)
	case 1:
		f.record.Failure(time.Now(), syscall.ECONNRESET)
		f.record.Failure(time.Now(), syscall.ECONNRESET)
	case 2:
		f.record.Success(time.Now(), ms)
	}
}

// talk says what the client has to say, and waits until nothing happens any more.
func (v *visit) talk(conn transport.StreamConn) {
	const get = "GET / HTTP/1.1\r\n\r\n"
	long := strings.Repeat("x", 90_000)
	says := []struct {
		parts []string
		safe  int
	}{
		{nil, 0},
		{[]string{hello[:6], hello[6:]}, len(hello)},
		{[]string{get}, len(get)},
		{[]string{get, post}, len(get)},
		{[]string{post}, 0},
		{[]string{post, long}, 0},
		{[]string{long}, 0},
		{[]string{"GET /", long}, len(long)},
	}[v.n(8)]
	v.parts, v.safe, v.half = says.parts, says.safe, v.n(2) == 0
	v.whole = strings.Join(v.parts, "")
	go func() {
		_, err := io.Copy(&v.got, conn)
		v.readErr, v.over = err, true
	}()
	go func() {
		for _, part := range v.parts {
			time.Sleep(v.pause())
			for p := range slices.Chunk([]byte(part), 10_000) {
				if v.writeErr == nil {
					_, v.writeErr = conn.Write(p)
				}
			}
		}
		if v.half && v.writeErr == nil {
			time.Sleep(v.pause())
			v.writeErr = conn.CloseWrite()
		}
	}()
	time.Sleep(3 * time.Minute)
	synctest.Wait()
}

func (v *visit) check(t *testing.T) {
	v.mu.Lock()
	calls := v.calls
	v.mu.Unlock()
	unsafe, clean := 0, false
	for _, c := range calls {
		c.mu.Lock()
		v.checkCall(t, c)
		if len(c.got) > v.safe {
			unsafe++
		}
		clean = clean || c.clean
		c.mu.Unlock()
	}
	if unsafe > 1 && v.replay != ReplayAny {
		t.Errorf("%d servers received what may not be sent twice", unsafe)
	}
	if v.over && v.readErr == nil && !clean {
		t.Error("the client met a clean end that no server made")
	}
}

// checkCall looks at what one server received, and whether its answer is the client's. The caller holds the
// call's lock.
func (v *visit) checkCall(t *testing.T, c *call) {
	if !strings.HasPrefix(v.whole, string(c.got)) {
		t.Errorf("on %s: what was received is not how the client began", c.at)
	}
	ended := errors.Is(c.end, io.EOF)
	if ended && len(c.got) > 0 && len(c.got) < len(v.whole) {
		t.Errorf("on %s: a clean end after %d of %d bytes", c.at, len(c.got), len(v.whole))
	}
	answered := strings.HasPrefix(v.got.String(), fmt.Sprintf("answer-%d;", c.id))
	if !answered || c.broke {
		return
	}
	if len(c.got) != len(v.whole) || v.writeErr != nil || ended != v.half {
		t.Errorf("on %s, which answered: %d of %d bytes, %v; the client's write: %v",
			c.at, len(c.got), len(v.whole), c.end, v.writeErr)
	}
	if v.over != v.half || v.readErr != nil {
		t.Errorf("on %s, which answered: the client's read: %v %v", c.at, v.over, v.readErr)
	}
}
