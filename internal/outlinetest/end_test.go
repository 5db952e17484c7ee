package outlinetest_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestEnds(t *testing.T) {
	const after = 100_000
	rows := []struct {
		name  string
		fault outlinetest.Fault
		code  int // of the Close frame; 0 for none
		whole bool
		want  error
	}{
		{"cut", outlinetest.Fault{End: outlinetest.EndCut}, 0, false, nil},
		{"reset", outlinetest.Fault{End: outlinetest.EndReset}, 0, false, syscall.ECONNRESET},
		{"FIN", outlinetest.Fault{End: outlinetest.EndFIN}, 0, true, nil},
		{"code", outlinetest.Fault{End: outlinetest.EndCode, Code: 1011}, 1011, true, nil},
		{"hold", outlinetest.Fault{End: outlinetest.EndHold}, 1000, true, nil},
	}
	for _, row := range rows {
		for _, plain := range []bool{false, true} {
			t.Run(row.name+map[bool]string{true: " plain"}[plain], func(t *testing.T) {
				echo := run(t)(outlinetest.StartSink("", 2*after))
				s := start(t, outlinetest.Config{Plain: plain})
				row.fault.After = after
				set(t, s, row.fault)
				c := mustDial(t, s, s.StreamURL())
				c.open(echo.Addr(), "request")
				c.send(nil) // the end, without a Close frame
				got, err := c.readAll()
				if clean := err == nil; clean != (row.code != 0) || c.code != row.code {
					t.Errorf("end = %v, code %d, want code %d", err, c.code, row.code)
				}
				if row.want != nil && !errors.Is(err, row.want) {
					t.Errorf("end = %v, want %v", err, row.want)
				}
				// A reset may overtake what was in flight.
				if len(got) > after || row.want == nil && len(got) != after {
					t.Errorf("bytes before the end = %d, want %d", len(got), after)
				}
			})
		}
	}
}

// An end strikes connections that are open already, and also when the target has no more to send.
func TestEndOfOpenConnection(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "hello")
	c.readN(5)
	set(t, s, outlinetest.Fault{End: outlinetest.EndCut, After: 5})
	c.closeWrite()
	if got, err := c.readAll(); err == nil || len(got) != 0 {
		t.Errorf("end = %q, %v, want an error", got, err)
	}
}

func TestHoldKeepsTCPOpen(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	set(t, s, outlinetest.Fault{End: outlinetest.EndHold})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "hello")
	if _, err := c.readAll(); err != nil || c.code != 1000 {
		t.Fatalf("end = %v, code %d, want nil, 1000", err, c.code)
	}
	c.closeWrite()
	wait(t, s, func(st outlinetest.Stats) bool { return len(st.Closings) == 1 })
	tcp := c.ws.NetConn()
	_ = tcp.SetReadDeadline(time.Now().Add(moment))
	if _, err := tcp.Read(make([]byte, 1)); !isTimeout(nil, err) {
		t.Errorf("read after both Close frames = %v, want silence", err)
	}
	_ = tcp.Close()
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
}

func TestPacketEnds(t *testing.T) {
	rows := []struct {
		name string
		end  outlinetest.End
		code int
	}{
		{"cut", outlinetest.EndCut, 1006},
		{"FIN", outlinetest.EndFIN, 1006},
		{"code", outlinetest.EndCode, 1001},
		{"hold", outlinetest.EndHold, 1000},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			echo := run(t)(outlinetest.StartUDPEcho(""))
			s := start(t, outlinetest.Config{})
			set(t, s, outlinetest.Fault{End: row.end, Code: row.code, After: 2})
			c := mustDial(t, s, s.PacketURL())
			c.send(c.packet(echo.Addr(), []byte("ok")))
			if _, err := c.answer(); err != nil {
				t.Fatal(err)
			}
			c.send(c.packet(echo.Addr(), []byte("no")))
			if _, err := c.answer(); !websocket.IsCloseError(err, row.code) {
				t.Errorf("end = %v, want %d", err, row.code)
			}
		})
	}
}
