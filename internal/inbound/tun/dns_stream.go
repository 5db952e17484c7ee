package tun

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/dnsforward"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// queryPause is how long a client may take for its next query, and to read an answer (RFC 7766, section
// 6.2.3).
const queryPause = 10 * time.Second

var errNoQuery = errors.New("what came on a stream to port 53 is no dns query")

// serveDNS answers the queries on a stream to port 53. The server that was asked need not be reached: it may
// be one of the local network, to which no upstream leads.
func (f *flow) serveDNS(ctx context.Context, r request) {
	client, err := f.accept(ctx, r)
	if err != nil {
		f.log().DebugContext(ctx, "client gave up", "dur", time.Since(f.began), "err", reason(ctx, err))
		return
	}
	s := &queryStream{conn: client, resolver: f.settings.DNS}
	stop := context.AfterFunc(ctx, func() { _ = transport.Abort(client) })
	err = s.serve(ctx)
	if stop(); err == nil {
		_ = client.Close()
	} else {
		_ = transport.Abort(client)
	}
	f.end(ctx, relay.Result{Sent: s.sent, Received: s.received, Err: err})
}

// queryStream is DNS messages one after the other, each behind its length (RFC 1035, section 4.2.2). They are
// answered in the order they come.
type queryStream struct {
	conn           transport.StreamConn
	resolver       Resolver
	sent, received int64
}

// serve returns nil when the client has no more queries, or none for queryPause.
func (s *queryStream) serve(ctx context.Context) error {
	for {
		query, err := s.read()
		if err != nil || query == nil {
			return err
		}
		if !dnsforward.IsQuery(query) {
			return errNoQuery
		}
		answer, err := s.resolve(ctx, query)
		if err != nil {
			answer = dnsforward.Failure(query)
		}
		if err := s.write(answer); err != nil {
			return err
		}
	}
}

// read returns nil at the end, which is where no query has begun.
func (s *queryStream) read() ([]byte, error) {
	if err := s.conn.SetDeadline(time.Now().Add(queryPause)); err != nil {
		return nil, err
	}
	var size [2]byte
	switch n, err := io.ReadFull(s.conn, size[:]); {
	case n == 0 && (errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded)):
		return nil, nil
	case err != nil:
		return nil, err
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	n, err := io.ReadFull(s.conn, query)
	s.sent += int64(len(size) + n)
	return query, err
}

func (s *queryStream) resolve(ctx context.Context, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.resolver.Query(ctx, query)
}

func (s *queryStream) write(answer []byte) error {
	if err := s.conn.SetDeadline(time.Now().Add(queryPause)); err != nil {
		return err
	}
	b := append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
	n, err := s.conn.Write(b)
	s.received += int64(n)
	return err
}
