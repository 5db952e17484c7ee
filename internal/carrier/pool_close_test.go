package carrier

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoolReplacesASessionThatGoesAway(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 2)
		f.sessions[0].set(func(s *fakeSession) { s.away = true })
		if took := p.open(t, 1); took != dialTime {
			t.Errorf("Open() took %v, want %v", took, dialTime)
		}
		if f.sessions[0].Ended() {
			t.Error("a session with streams was closed")
		}
		f.sessions[0].set(func(s *fakeSession) { s.ended = true })
		p.open(t, 1)
		if n := len(p.sessions); n != 1 {
			t.Errorf("sessions kept = %d, want 1", n)
		}
	})
}

func TestPoolClosesIdleSessions(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 5) // has a second one dialled
		time.Sleep(dialTime)
		synctest.Wait()
		first, second := f.sessions[0], f.sessions[1]
		time.Sleep(2*defaultIdle + time.Second)
		synctest.Wait()
		if first.Ended() || !second.Ended() {
			t.Errorf("ended: %v and %v, want false and true", first.Ended(), second.Ended())
		}
		first.set(func(s *fakeSession) { s.streams, s.idle = 0, time.Now() })
		time.Sleep(2 * defaultIdle)
		synctest.Wait()
		if !first.Ended() || p.sweeper != nil {
			t.Errorf("ended: %v, sweeper %v, want true and none", first.Ended(), p.sweeper)
		}
		p.open(t, 1)
	})
}

func TestPoolClose(t *testing.T) {
	f := &fakeServer{room: 1}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 2)
		for _, s := range f.sessions {
			s.closing = time.Second
		}
		waiting := make(chan error)
		go func() {
			_, err := p.Open(context.Background(), nil, nil)
			waiting <- err
		}()
		synctest.Wait()
		start := time.Now()
		closed := make(chan struct{})
		go func() {
			_ = p.Close()
			close(closed)
		}()
		if err := <-waiting; err == nil {
			t.Error("Open() during Close() = nil")
		}
		<-closed
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close() took %v, want the 1s that both sessions take together", took)
		}
		if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Open() after Close() = %v, want %v", err, net.ErrClosed)
		}
		if err := p.Close(); err != nil {
			t.Errorf("second Close() = %v, want nil", err)
		}
	})
}

// A session that is dialled when the pool is closed is closed too.
func TestPoolCloseDuringADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &fakeSession{room: 1}
		p := &Pool{Dial: func(ctx context.Context) (Session, error) {
			<-ctx.Done()
			return late, nil
		}}
		done := make(chan error)
		go func() {
			_, err := p.Open(context.Background(), nil, nil)
			done <- err
		}()
		synctest.Wait()
		go p.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Open() = %v, want %v", err, net.ErrClosed)
		}
		_ = p.Close()
		if !late.Ended() {
			t.Error("the late session was not closed")
		}
	})
}
