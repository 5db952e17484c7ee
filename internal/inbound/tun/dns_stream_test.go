package tun

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// framed is a message as it goes over TCP.
func framed(message string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(message)))) + message
}

// askByTCP gives the application's side of a stream to port 53 to client, and serves it to its end.
func askByTCP(t *testing.T, r Resolver, client func(app *transporttest.PipeConn)) {
	t.Helper()
	s := &Server{Settings: Settings{DNS: r}}
	s.Stream = dialFunc(nil) // which would panic
	app, inside := transporttest.Pipe()
	request := &fakeRequest{client: inside}
	var serving sync.WaitGroup
	serving.Go(func() {
		s.serveStream(t.Context(), host4, netip.MustParseAddrPort("192.168.1.1:53"), request)
	})
	client(app)
	_ = app.Close()
	serving.Wait()
	request.want(t, 1, 0)
}

func TestQueriesByTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := "fails.example."
		r := resolveFunc(func(_ context.Context, q []byte) ([]byte, error) {
			if strings.Contains(string(q), "fails") {
				return nil, errDown
			}
			return dnsAnswer(t, q, 100), nil // longer than UDP takes, and nothing is cut here
		})
		askByTCP(t, r, func(app *transporttest.PipeConn) {
			one, two := dnsQuery(t, 1, "example.com."), dnsQuery(t, 2, fails)
			_, _ = io.WriteString(app, framed(one)+framed(two)) // both at once
			_ = app.CloseWrite()
			got, err := io.ReadAll(app)
			if err != nil {
				t.Fatal(err)
			}
			first := framed(string(dnsAnswer(t, []byte(one), 100)))
			second, ok := strings.CutPrefix(string(got), first)
			if !ok {
				t.Fatalf("answers = %x, want %x first", got, first)
			}
			var m dnsmessage.Message
			err = m.Unpack([]byte(second[2:]))
			if err != nil || m.RCode != dnsmessage.RCodeServerFailure || m.ID != 2 {
				t.Errorf("the second answer = %+v, %v, want a failure", m, err)
			}
		})
	})
}

func TestStreamsToPort53End(t *testing.T) {
	answer := resolveFunc(func(_ context.Context, q []byte) ([]byte, error) {
		return dnsAnswer(t, q, 1), nil
	})
	wait := resolveFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, errors.New("ended")
	})
	query := framed(dnsQuery(t, 1, "example.com."))
	tests := []struct {
		name     string
		resolver Resolver
		sends    string
		want     error // nil: EOF
		after    time.Duration
	}{
		{"nothing comes", answer, "", nil, queryPause},
		{"half a query", answer, query[:9], syscall.ECONNRESET, queryPause},
		{"no query", answer, "\x00\x05SSH-2", syscall.ECONNRESET, 0},
		{"an empty one", answer, "\x00\x00", syscall.ECONNRESET, 0},
		{"nothing comes after an answer", answer, query, nil, queryPause},
		{"the resolver takes its time", wait, query, nil, queryTimeout + queryPause},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				askByTCP(t, tt.resolver, func(app *transporttest.PipeConn) {
					_, _ = io.WriteString(app, tt.sends)
					began := time.Now()
					_, err := io.ReadAll(app)
					if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.after {
						t.Errorf("the end = %v after %v, want %v after %v", err, took, tt.want, tt.after)
					}
				})
			})
		})
	}
}

// TestStreamToPort53IsCut at once when the server stops, while it waits for a query and for an answer.
func TestStreamToPort53IsCut(t *testing.T) {
	for _, sends := range []string{"", framed(dnsQuery(t, 1, "example.com."))} {
		synctest.Test(t, func(t *testing.T) {
			r := resolveFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			s := &Server{Settings: Settings{DNS: r, Stream: dialFunc(nil)}}
			app, inside := transporttest.Pipe()
			var serving sync.WaitGroup
			serving.Go(func() { s.serveStream(t.Context(), host4, dns4, &fakeRequest{client: inside}) })
			_, _ = io.WriteString(app, sends)
			synctest.Wait()
			began := time.Now()
			s.flows.cut(errClosed)
			if _, err := io.ReadAll(app); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read of who is cut = %v, want %v", err, syscall.ECONNRESET)
			}
			serving.Wait()
			if took := time.Since(began); took != 0 {
				t.Errorf("the end took %v, want no wait", took)
			}
		})
	}
}
