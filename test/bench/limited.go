package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// stuck is how many applications take nothing of what endless targets send.
	stuck = 100
	// moving and movedEach are downloads at the same time, and their bytes.
	moving    = 8
	movedEach = 16 << 20
	// beyond is how many flows want in beside those that are held.
	beyond = 1500
	// rush is how many flows come at a time, for each MiB.
	rush = 2
	// recovery is how long after the load new flows may be refused.
	recovery = 10 * time.Second
)

// errShort says that something else happened than what should. What it was has been printed.
var errShort = errors.New("not as it should be")

// limited holds idle flows in a group with so many MiB, puts load on top of them, and says what became of it
// all: the program must live, old flows must go on or be cut for a reason, and new ones be answered or
// refused. It does so over every carrier, with as many flows as this one has room for.
func limited(ctx context.Context, b built, mib int64, flows int) error {
	for _, run := range []struct {
		carrier int // in carriers
		flows   int
	}{{1, flows}, {2, flows / 2}, {0, flows / 4}} {
		c := carriers[run.carrier]
		fmt.Printf("%s in %d MiB\n", c.name, mib)
		if err := limitedOver(ctx, b, c.flag, mib, run.flows); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func limitedOver(ctx context.Context, b built, flag string, mib int64, flows int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g, err := newGroup(mib << 20)
	if err != nil {
		return err
	}
	defer g.remove() // once the program is stopped
	l := load{
		cipher: ciphers[0], flag: flag, within: g,
		extra: fmt.Sprintf("%s\nmemory_limit: %dMiB", nothingReady, mib),
	}
	r, err := set(ctx, b, l)
	defer r.stop()
	if err != nil {
		return err
	}
	t := &trial{rig: r, group: g, mib: mib}
	defer t.release()
	return t.run(flows)
}

// trial is one run with a limit.
type trial struct {
	*rig

	group *group
	mib   int64
	short bool // something was not as it should be

	mu   sync.Mutex // guards held and what flows count
	held []*net.TCPConn
}

func (t *trial) run(flows int) error {
	t.say("before any flow")
	c := t.crowd(flows)
	t.say("%d idle flows: %v", flows, c)
	if int(c.answered) < flows/8*7 || c.failed > 0 {
		t.fault("seven eighths of these must fit")
	}
	before := t.held

	t.stick()
	t.say("%d applications that read nothing", stuck)
	t.say("%d of %d downloads beside them", t.move(), moving)
	c = t.crowd(beyond)
	t.say("%d flows more: %v", beyond, c)
	t.judge(c)

	alive := t.alive(before)
	t.say("%d of the first %d flows answer", alive, len(before))
	if alive < len(before) && !t.log.has("newest flows cut") {
		t.fault("a flow that ends must have a reason")
	}
	t.after()
	if t.short {
		return errShort
	}
	return nil
}

// judge says what is wrong with the fates of flows beyond what fits.
func (t *trial) judge(c fates) {
	switch {
	case c.failed > 0:
		t.fault("a flow must be answered or refused")
	case c.refused == 0:
		t.fault("so many flows more must be more than fit, or this shows nothing")
	case !t.log.has("flows refused"):
		t.fault("the log must say why flows are refused")
	case c.closed > 0 && !t.log.has("client refused"):
		t.fault("the log must say why connections are closed")
	}
}

// after takes the load off and looks how things are then.
func (t *trial) after() {
	t.release()
	began := time.Now()
	if err := t.recover(); err != nil {
		t.fault("flows must be answered again: %v", err)
	}
	t.say("flows again %v after the load", time.Since(began).Round(100*time.Millisecond))
	if kills, err := t.group.kills(); err != nil || kills > 0 {
		t.fault("the kernel killed %d processes, %v", kills, err)
	}
}

// say prints what was done, and the memory that it took.
func (t *trial) say(format string, args ...any) {
	rss, rssErr := t.resident()
	now, most, groupErr := t.group.use()
	what := fmt.Sprintf(format, args...)
	fmt.Printf("%-86s RSS %5.1f MiB, group %5.1f, at most %5.1f\n", what, rss, now, most)
	if err := errors.Join(rssErr, groupErr); err != nil {
		t.fault("the program must live: %v", err)
	}
}

func (t *trial) fault(format string, args ...any) {
	t.short = true
	fmt.Printf("  NOT SO: %s\n", fmt.Sprintf(format, args...))
}

// fates are what became of flows.
type fates struct{ answered, refused, closed, failed int64 }

func (f fates) String() string {
	return fmt.Sprintf("%d answered, %d refused, %d closed at the door, %d failed",
		f.answered, f.refused, f.closed, f.failed)
}

func (f *fates) count(err error) {
	var reply replyError
	switch {
	case err == nil:
		f.answered++
	case errors.As(err, &reply) && reply == generalFailure:
		f.refused++
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.closed++
	default:
		if f.failed++; f.failed == 1 {
			fmt.Printf("  %v\n", err)
		}
	}
}

// crowd opens flows in a rush and holds those that are answered.
func (t *trial) crowd(flows int) (f fates) {
	var opening sync.WaitGroup
	places := make(chan struct{}, rush*t.mib)
	for range flows {
		places <- struct{}{}
		opening.Go(func() {
			defer func() { <-places }()
			err := t.open()
			t.mu.Lock()
			defer t.mu.Unlock()
			f.count(err)
		})
	}
	opening.Wait()
	return f
}

// open opens a flow, has it answered once and keeps it.
func (t *trial) open() error {
	conn, err := t.connect(t.Echo)
	if err != nil {
		return err
	}
	if err := echo(conn); err != nil {
		_ = conn.Close()
		return err
	}
	t.keep(conn)
	return nil
}

func (t *trial) keep(conn *net.TCPConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = append(t.held, conn)
}

// echo sends a few bytes and wants them back.
func echo(conn net.Conn) error {
	block := make([]byte, 512)
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := conn.Write(block); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, block)
	return err
}

// stick opens flows of which nothing is read, as far as there is room.
func (t *trial) stick() {
	var opening sync.WaitGroup
	for range stuck {
		opening.Go(func() {
			if conn, err := t.connect(t.Source); err == nil {
				t.keep(conn)
			}
		})
	}
	opening.Wait()
}

// move downloads as far as there is room, and returns how many downloads were whole.
func (t *trial) move() int64 {
	var whole atomic.Int64
	var running sync.WaitGroup
	for range moving {
		running.Go(func() {
			if t.download(t.Source, movedEach) == nil {
				whole.Add(1)
			}
		})
	}
	running.Wait()
	return whole.Load()
}

// alive returns how many flows answer.
func (t *trial) alive(flows []*net.TCPConn) (n int) {
	for _, conn := range flows {
		if echo(conn) == nil {
			n++
		}
	}
	return n
}

// recover opens flows until one is answered.
func (t *trial) recover() (err error) {
	for deadline := time.Now().Add(recovery); time.Now().Before(deadline); {
		if err = t.open(); err == nil {
			return nil
		}
	}
	return err
}

// release ends all flows that are held.
func (t *trial) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conn := range t.held {
		_ = conn.Close()
	}
	t.held = nil
}
