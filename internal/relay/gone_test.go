package relay

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// leaver is a client that knows of its end without a read.
type leaver struct {
	*transporttest.PipeConn
	gone bool
}

func (l *leaver) Gone() bool { return l.gone }

// A client that leaves while its upload waits for the target does not keep the flow.
func TestClientThatIsGoneEndsTheFlow(t *testing.T) {
	for name, is := range map[string]bool{"gone": true, "there": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, client := transporttest.Pipe()
				target, far := transporttest.Pipe() // whose far end reads nothing
				go func() { _, _ = app.Write(payload(bufferSize)) }()
				ended := make(chan Result, 1)
				began := time.Now()
				go func() { ended <- Streams(t.Context(), &leaver{client, is}, target, Limits{}) }()
				select {
				case r := <-ended:
					if !is || !errors.Is(r.Err, errClientGone) {
						t.Errorf("flow ended: %v, want %v of a client that is gone", r.Err, errClientGone)
					}
					took := time.Since(began)
					if took < goneLimit || took > goneLimit+goneLimit/ticksPerLimit {
						t.Errorf("flow ended after %v, want about %v", took, goneLimit)
					}
				case <-time.After(time.Hour):
					if is {
						t.Error("flow goes on without its client")
					}
					_, _ = app.Close(), far.Close()
					<-ended
				}
			})
		})
	}
}
