package outlinetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestMuxCutAll(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		flows := make([]*client, 20)
		for i := range flows {
			flows[i] = mustDialOver(t, s, open, s.StreamURL())
			flows[i].open(echo.Addr(), "x")
			flows[i].readN(1)
		}
		s.CutAll()
		for _, c := range flows {
			if _, err := c.readAll(); err == nil {
				t.Error("end = nil, want an error")
			}
		}
		wait(t, s, func(st outlinetest.Stats) bool { return st.Live+st.Open+st.Mux.OpenQUIC == 0 })
	})
}

func TestMuxCloseAll(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(echo.Addr(), "x")
		c.readN(1)
		s.CloseAll(1012)
		if _, err := c.readAll(); err != nil || c.code != 1012 {
			t.Errorf("end = %v, code %d, want nil, 1012", err, c.code)
		}
		c.closeWrite()
		wait(t, s, idle)
	})
}

func TestMuxFreeze(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(echo.Addr(), "before")
		c.readN(len("before"))
		set(t, s, outlinetest.Fault{Freeze: true})
		if err := c.write([]byte("during")); err != nil {
			t.Fatal(err)
		}
		tcp := c.ws.NetConn()
		_ = tcp.SetReadDeadline(time.Now().Add(moment))
		if _, err := tcp.Read(make([]byte, 1)); !isTimeout(nil, err) {
			t.Fatalf("read while frozen = %v, want silence", err)
		}
		_ = c.ws.SetReadDeadline(time.Now().Add(patience))
		set(t, s, outlinetest.Fault{})
		if got := c.readN(len("during")); string(got) != "during" {
			t.Errorf("after the thaw = %q, want %q", got, "during")
		}
	})
}

// Connections that FreezeAll stopped stay so; new ones work.
func TestFreezeAll(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(echo.Addr(), "x")
		c.readN(1)
		s.FreezeAll()
		if err := c.write([]byte("during")); err != nil {
			t.Fatal(err)
		}
		quiet(t, c)
		for _, carrier := range carriers {
			if carrier.protocols&serves(t, s) == 0 {
				continue
			}
			other := mustDialOver(t, s, carrier.connect(t, s), s.StreamURL())
			other.open(echo.Addr(), "x")
			other.readN(1)
		}
		quiet(t, c)
	})
}

func TestBlockUDP(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{Protocols: outlinetest.HTTP1 | outlinetest.HTTP3})
	set(t, s, outlinetest.Fault{BlockUDP: true})
	if _, err := dialH3(t, s, &quic.Config{HandshakeIdleTimeout: moment}); !isTimeout(nil, err) {
		t.Errorf("QUIC with UDP blocked = %v, want a timeout", err)
	}
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "x")
	c.readN(1)
	set(t, s, outlinetest.Fault{Stage: outlinetest.RefuseTCP})
	if _, _, err := dial(t, s, s.StreamURL()); err == nil {
		t.Error("TCP with its port closed = nil error")
	}
	other := mustDialOver(t, s, connectH3(t, s), s.StreamURL())
	other.open(echo.Addr(), "x")
	other.readN(1)
}

// A server of HTTP/3 alone has no TCP port.
func TestHTTP3Alone(t *testing.T) {
	s := start(t, outlinetest.Config{Protocols: outlinetest.HTTP3})
	if _, _, err := dial(t, s, s.StreamURL()); err == nil {
		t.Error("TCP = nil error")
	}
	mustDialOver(t, s, connectH3(t, s), s.StreamURL())
	set(t, s, outlinetest.Fault{})
	if _, _, err := dial(t, s, s.StreamURL()); err == nil {
		t.Error("TCP after SetFault = nil error")
	}
}

func TestMuxNeedsTLS(t *testing.T) {
	for _, p := range []outlinetest.Protocols{outlinetest.HTTP2, outlinetest.HTTP1 | outlinetest.HTTP3} {
		if s, err := outlinetest.Start(outlinetest.Config{Plain: true, Protocols: p}); err == nil {
			_ = s.Close()
			t.Errorf("Start plain with protocols %b = nil error", p)
		}
	}
}

// Close does not wait for anything that is stuck.
func TestMuxCloseIsFast(t *testing.T) {
	faults := map[string]outlinetest.Fault{
		"none":         {},
		"stall HTTP":   {Stage: outlinetest.StallHTTP},
		"stall opened": {Stage: outlinetest.StallOpened},
		"wrong secret": {Stage: outlinetest.WrongSecret},
		"blackhole":    {Stage: outlinetest.Blackhole},
		"freeze":       {Freeze: true},
		"block UDP":    {BlockUDP: true},
		"delay":        {Delay: time.Hour},
		"hold":         {End: outlinetest.EndHold},
		"pings":        {Mux: outlinetest.Mux{PingEvery: time.Millisecond}},
		"go away":      {Mux: outlinetest.Mux{GoAwayEvery: time.Hour}},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
				echo := run(t)(outlinetest.StartEcho(""))
				wait(t, s, func(st outlinetest.Stats) bool { return st.Open+st.Mux.OpenQUIC == 1 })
				set(t, s, fault)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					conn, _, err := open(ctx, s.StreamURL(), nil)
					if err == nil {
						c := over(t, s, conn)
						_ = c.write(append(socksAddr(echo.Addr()), 'x'))
						_, _ = c.readAll()
					}
				}()
				if !fault.Freeze && !fault.BlockUDP {
					wait(t, s, func(st outlinetest.Stats) bool { return len(st.Requests) == 1 })
				}
				began := time.Now()
				_ = s.Close()
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("Close took %v", took)
				}
				cancel()
				<-done
			})
		})
	}
}
