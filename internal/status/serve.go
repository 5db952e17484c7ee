package status

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// What one client may take of the program. Who comes when all connections are taken waits in the kernel: for
// less than the 5 s that probes of a service have at least, even if all of the others do nothing.
const (
	maxConns    = 64
	maxHeader   = 16 << 10
	headerTime  = 3 * time.Second
	requestTime = 4 * time.Second
	answerTime  = 30 * time.Second
	idleTime    = 3 * time.Second
	graceTime   = 2 * time.Second // for requests that are being answered at the end
)

// Serve answers requests from l until ctx is done, or until accepting fails for good, which is its error. It
// closes l, and when it returns no handler runs any more.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var conns sync.WaitGroup
	s := &http.Server{
		Handler:           h,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // clients that misbehave
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // the server says so before its Serve returns
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(netutil.LimitListener(l, maxConns)) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
		defer cancel()
		_ = s.Shutdown(grace) // what it leaves is closed below
		err = <-ended
	}
	_ = s.Close()
	conns.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
