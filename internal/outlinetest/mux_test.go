package outlinetest_test

import (
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestMuxEcho(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(echo.Addr(), "hello, ")
		if err := c.write([]byte("world")); err != nil {
			t.Fatal(err)
		}
		c.closeWrite()
		got, err := c.readAll()
		if string(got) != "hello, world" || err != nil || c.code != 1000 {
			t.Errorf("echo = %q, %v, code %d, want %q, nil, 1000", got, err, c.code, "hello, world")
		}
		wait(t, s, func(st outlinetest.Stats) bool { return st.Live == 0 })
	})
}
