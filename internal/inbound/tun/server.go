package tun

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// inbound is what logs call this package.
const inbound = "tun"

// Server serves one device. The exported fields are its options, which must not change once it serves,
// except by Update. Update and Shutdown may be called concurrently with Serve.
//
// There are three states: open, draining, cut.
//
//	open     -- the end of Serve's ctx, Shutdown -> draining  new flows are refused; others go on
//	draining -- Shutdown's ctx done --------------> cut       flows are reset
type Server struct {
	Settings              // to begin with
	MaxDials int          // connections being opened at once; zero is 4096
	Logger   *slog.Logger // nil logs nothing
	Observer Observer     // may be nil
	Gate     Gate         // nil lets everybody in
	Counters Counters     // what it moved

	updated atomic.Pointer[Settings] // nil before the first Update
	tunnel  atomic.Pointer[tunnel]   // nil before Serve
	flows   flowSet
}

// Update replaces the settings for the flows to come.
func (s *Server) Update(next Settings) { s.updated.Store(&next) }

func (s *Server) settings() *Settings {
	if updated := s.updated.Load(); updated != nil {
		return updated
	}
	return &s.Settings
}

// Serve takes what the kernel routes into d and returns nil when ctx is done or Shutdown is called, and an
// error when the device fails. It owns d. Flows outlast ctx, and so does the device that they need: Shutdown
// must be called in any case. Serve may be called once.
func (s *Server) Serve(ctx context.Context, d *Device) error {
	t, err := openTunnel(context.WithoutCancel(ctx), s, d)
	if err != nil {
		_ = d.Close()
		return err
	}
	s.tunnel.Store(t)
	if s.flows.isClosed() { // Shutdown may not have seen it
		t.close(ctx)
		return nil
	}
	select {
	case <-ctx.Done():
		s.flows.close()
		return nil
	case <-t.ended:
	}
	s.flows.close()
	if t.err == nil {
		return nil
	}
	s.flows.cut(t.err)
	return fmt.Errorf("device %s: %w", d.Name(), t.err)
}

// Shutdown refuses new flows, waits for the others to end, and when ctx is done resets those that remain.
// Then it closes the device. It returns nil if all flows ended by themselves, else how many did not and the
// cause of ctx's end. When it returns, nothing of the server runs any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.flows.close()
	cut := make(chan int, 1) // how many flows have been cut
	stop := context.AfterFunc(ctx, func() {
		cut <- s.flows.cut(errClosed)
		if t := s.tunnel.Load(); t != nil {
			t.abort()
		}
	})
	s.flows.running.Wait()
	alone := stop()
	if t := s.tunnel.Load(); t != nil {
		t.close(ctx)
	}
	if alone {
		return nil
	}
	if n := <-cut; n > 0 {
		return fmt.Errorf("%d flows cut: %w", n, context.Cause(ctx))
	}
	return nil
}

// CutNewest resets the newest streams, one in so many, for a cause. It returns how many these were.
func (s *Server) CutNewest(oneIn int, cause error) int { return s.flows.cutNewest(oneIn, cause) }

func (s *Server) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Server) gate() Gate {
	if s.Gate != nil {
		return s.Gate
	}
	return openGate{}
}

func (s *Server) observer() Observer {
	if s.Observer != nil {
		return s.Observer
	}
	return unobserved{}
}
