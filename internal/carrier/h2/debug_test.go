package h2

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

func TestDebugShowsFramesAndNoSecrets(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	inScript(t, Options{Logger: logger}, func(t *testing.T, p *script) {
		p.greet()
		p.start(t.Context(), http.Header{"Authorization": {"password"}})
		p.respond(1, "200")
		p.raw(http2.FrameData, 0, 1, []byte("payload"))
		p.do(p.fr.WriteWindowUpdate(0, 5))
		p.do(p.fr.WriteGoAway(1, http2.ErrCodeNo, []byte("notes")))
		_ = p.c.Close()
	})
	for _, want := range []string{
		`msg="h2 frame" dir=sent frame=HEADERS stream=1`,
		`msg="h2 frame" dir=received frame=DATA stream=1 flags=0 len=7`,
		`msg="h2 frame" dir=received frame=WINDOW_UPDATE`,
		`msg="h2 server settings" connect=true`,
		`msg="h2 server is going away" last=1 code=NO_ERROR`,
		`msg="h2 connection ended"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log has no %s:\n%s", want, log.String())
		}
	}
	for _, secret := range []string{"secret", "password", "payload"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("log has %q:\n%s", secret, log.String())
		}
	}
}
