package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// httpStart is how every answer of a web server begins.
const httpStart = "HTTP/"

// httpPort is left out of a Host header.
const httpPort = "80"

// TCPProbe asks web servers, "host:port", for their front page's head. Any HTTP answer passes: it is the path
// that is tested. There is at least one target.
func TCPProbe(d transport.StreamDialer, targets []string, limits Timeouts) Probe {
	p := &tcpProbe{dialer: d, limits: limits}
	p.targets.targets = targets
	return p.run
}

type tcpProbe struct {
	dialer  transport.StreamDialer
	limits  Timeouts
	targets rotation
}

func (p *tcpProbe) run(ctx context.Context) (time.Duration, error) {
	return askInTurn(ctx, p.targets.pair(), func(target string) (time.Duration, error) {
		return p.ask(ctx, target)
	})
}

// ask opens a stream for one request.
func (p *tcpProbe) ask(ctx context.Context, target string) (time.Duration, error) {
	dialing, cancel := within(ctx, p.limits.Dial)
	conn, err := p.dialer.DialStream(dialing, target)
	cancel()
	if err != nil {
		return 0, &StageError{Transport, target, err}
	}
	asking, cancel := within(ctx, p.limits.Exchange)
	defer cancel()
	defer interrupt(asking, conn)()
	rtt, err := exchangeHTTP(conn, target)
	if err != nil {
		_ = transport.Abort(conn) // a clean end would wait for a server that may read nothing
		return 0, &StageError{Quality, target, explain(asking, err)}
	}
	_ = conn.Close()
	return rtt, nil
}

// exchangeHTTP sends a request and returns how long the first byte of its answer took.
func exchangeHTTP(conn io.ReadWriter, target string) (time.Duration, error) {
	began := time.Now()
	if _, err := conn.Write(headRequest(target)); err != nil {
		return 0, err
	}
	var start [len(httpStart)]byte
	n, err := io.ReadAtLeast(conn, start[:], 1)
	if err != nil {
		return 0, err
	}
	rtt := time.Since(began)
	if _, err := io.ReadFull(conn, start[n:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, fmt.Errorf("answer %q...: %w", start[:n], err)
	}
	if string(start[:]) != httpStart {
		return 0, fmt.Errorf("answer %q... is not HTTP", start)
	}
	return rtt, nil
}

// headRequest is the whole request (RFC 9110, section 9.3.2; RFC 9112, section 9.6).
func headRequest(target string) []byte {
	if host, port, err := net.SplitHostPort(target); err == nil && port == httpPort {
		target = host
		if isIPv6(host) {
			target = "[" + host + "]"
		}
	}
	return []byte("HEAD / HTTP/1.1\r\nHost: " + target + "\r\nConnection: close\r\n\r\n")
}
