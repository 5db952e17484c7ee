package outlinetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// serveStream is one WebSocket of websocket-stream: a Shadowsocks stream to one target.
func (s *Server) serveStream(c *socket) {
	defer c.Close()
	// For the key and the target's address; what does not authenticate is drained until the same moment.
	_ = c.ws.SetReadDeadline(time.Now().Add(s.config.DrainTimeout))
	in := s.authenticate(c)
	if in == nil {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	addr, err := readAddr(in)
	_ = c.ws.SetReadDeadline(time.Time{})
	if err != nil {
		s.stats.update(func(t *Stats) { t.BadStreams++ })
		_, _ = io.Copy(io.Discard, c)
		return
	}
	s.stats.target(addr)
	target, err := s.dial(addr)
	if err != nil {
		return
	}
	defer s.forget(target)
	s.bridge(c, target, in)
	if c.hold {
		c.outwait()
	}
}

// authenticate reads what the key needs. It returns nil for a stream that does not open or was seen before.
func (s *Server) authenticate(c *socket) *chunkReader {
	first := make([]byte, firstBytes)
	if _, err := io.ReadFull(c, first); err != nil {
		s.stats.update(func(t *Stats) { t.BadStreams++ })
		return nil
	}
	salt := first[:s.key.size]
	aead, err := s.key.session(salt)
	if err == nil {
		var nonce counter
		_, err = aead.Open(nil, nonce.next(), first[s.key.size:][:2+tagSize], nil)
	}
	if err != nil || s.fault.on(StreamEndpoint).Stage == WrongSecret {
		s.stats.update(func(t *Stats) { t.BadStreams++ })
		return nil
	}
	if !s.salts.add(salt) {
		s.stats.update(func(t *Stats) { t.Replays++ })
		return nil
	}
	return &chunkReader{from: io.MultiReader(bytes.NewReader(first[s.key.size:]), c), aead: aead}
}

// bridge moves both directions until both have ended.
func (s *Server) bridge(c *socket, target net.Conn, in *chunkReader) {
	var answer sync.WaitGroup
	answer.Go(func() {
		s.answer(c, target)
		if half, ok := target.(interface{ CloseRead() error }); ok {
			_ = half.CloseRead()
		}
	})
	err := upload(target, in)
	if err != nil && !errors.Is(err, errText) {
		_, err = io.Copy(io.Discard, c) // a stream that broke is drained like one that did not open
	}
	if errors.Is(err, errText) {
		c.Close()
	}
	if half, ok := target.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	answer.Wait()
}

// upload copies to the target until the client's clean end, for which it returns nil.
func upload(target io.Writer, in *chunkReader) error {
	for {
		chunk, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := target.Write(chunk); err != nil {
			return err
		}
	}
}

// answer copies from the target and ends our half. A target that breaks looks like one that ends, as with
// Outline.
func (s *Server) answer(c *socket, target io.Reader) {
	out, err := s.key.newChunkWriter()
	if err != nil {
		c.CloseWrite()
		return
	}
	s.salts.add(out.salt) // a client that sends it back is a replay, too
	buf := make([]byte, maxChunk)
	for {
		n, readErr := target.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			room := c.room()
			if room == 0 {
				c.finish(out.seal(data))
				return
			}
			part := data[:min(int64(len(data)), room)]
			data = data[len(part):]
			if err := c.send(out.seal(part), len(part)); err != nil {
				c.CloseWrite()
				return
			}
		}
		if readErr == nil {
			continue
		}
		if c.room() == 0 {
			c.finish(out.seal(make([]byte, tagSize)))
			return
		}
		c.CloseWrite()
		return
	}
}

// dial opens a target, which forget closes.
func (s *Server) dial(addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	place, mapped := s.config.Hosts[addr]
	if !mapped {
		place = addr
	}
	dial := s.config.Dial
	if dial == nil {
		if err := s.allow(place); !mapped && err != nil {
			return nil, err
		}
		dial = (&net.Dialer{}).DialContext
	}
	target, err := dial(ctx, "tcp", place)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = target.Close()
		return nil, net.ErrClosed
	}
	s.targets[target] = struct{}{}
	return target, nil
}

func (s *Server) forget(target net.Conn) {
	_ = target.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.targets, target)
}

// allow keeps targets on loopback, names included: a look-up would leave the host.
func (s *Server) allow(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if s.config.AnyTarget || host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("target %s is not on loopback", addr)
}
