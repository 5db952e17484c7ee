package outlinetest

import (
	"errors"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	controlWait = time.Second     // what gorilla and Outline's server give a control frame
	cutWait     = 5 * time.Second // what a client has to notice that it was cut
)

// errText says that a message was not binary.
var errText = errors.New("read message is not binary")

// socket is a WebSocket as a byte stream whose halves end apart, read the way Outline's server reads it. One
// goroutine may read, one may write answers; the rest may be called from anywhere.
type socket struct {
	server   *Server
	ws       *websocket.Conn
	lane     lane // what ws runs over
	endpoint Endpoint

	message io.Reader   // read by the reader: what is left of the message
	readErr error       // set by the reader, for good
	asked   atomic.Bool // the client sent something since the last answer
	sent    int64       // by the writer: bytes of the target's
	hold    bool        // by the writer: the lane is left to the client
	code    int         // set by the reader: of the client's Close frame
}

func newSocket(s *Server, ws *websocket.Conn, l lane, e Endpoint) *socket {
	c := &socket{server: s, ws: ws, lane: l, endpoint: e}
	c.code = websocket.CloseAbnormalClosure
	// The default handler would echo the Close frame, and the answer could not go on.
	ws.SetCloseHandler(func(code int, _ string) error {
		c.code, c.readErr = code, io.EOF
		s.stats.closed(e, code)
		return nil
	})
	ws.SetPingHandler(func(data string) error {
		s.stats.update(func(t *Stats) { t.Pings++ })
		if !s.fault.on(e).NoPong {
			// Errors are as good as silence: the reader will meet them.
			_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(controlWait))
		}
		return nil
	})
	ws.SetPongHandler(func(string) error {
		s.stats.update(func(t *Stats) { t.Pongs++ })
		return nil
	})
	return c
}

// enter and leave frame the life of a WebSocket.
func (s *Server) enter(c *socket) {
	s.mu.Lock()
	s.sockets[c] = struct{}{}
	s.mu.Unlock()
	s.stats.update(func(t *Stats) { t.Handshakes++; t.Live++ })
}

func (s *Server) leave(c *socket) {
	s.mu.Lock()
	delete(s.sockets, c)
	s.mu.Unlock()
	if c.code == websocket.CloseAbnormalClosure {
		s.stats.closed(c.endpoint, c.code)
	}
	s.stats.update(func(t *Stats) { t.Live-- })
}

// live lists the open WebSockets.
func (s *Server) live() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sockets))
}

// Read makes one read from the current message, or from the next. An empty message and a Close frame are EOF.
func (c *socket) Read(p []byte) (int, error) {
	if c.readErr != nil {
		return 0, c.readErr
	}
	if c.message != nil {
		n, err := c.message.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		c.message = nil
	}
	kind, message, err := c.ws.NextReader()
	if c.readErr != nil {
		return 0, c.readErr
	}
	switch {
	case err != nil:
		c.readErr = errors.Join(net.ErrClosed, err)
	case kind != websocket.BinaryMessage:
		c.readErr = errText
	}
	if c.readErr != nil {
		return 0, c.readErr
	}
	c.asked.Store(true)
	c.server.stats.update(func(t *Stats) { t.Received++ })
	c.message = message
	return message.Read(p)
}

// readPacket makes one read, although it may get a part of the message: so does Outline's server. Over HTTP/3
// it takes the whole, since no client can keep a message in one piece there.
func (c *socket) readPacket(p []byte) (int, error) {
	n, err := c.Read(p)
	if _, quic := c.lane.(*h3Lane); err != nil || !quic {
		return n, err
	}
	rest, err := io.ReadFull(c.message, p[n:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n + rest, err
}

// room is how many bytes of the target's may be sent before the fault's end is due.
func (c *socket) room() int64 {
	f := c.server.fault.on(c.endpoint)
	if f.End == EndNormal {
		return math.MaxInt64
	}
	return max(0, f.After-c.sent)
}

// send sends one message that carries n bytes of the target's.
func (c *socket) send(message []byte, n int) error {
	f := c.server.fault.on(c.endpoint)
	if c.asked.Swap(false) && f.Delay > 0 {
		c.server.pause(f.Delay, c.lane.done())
	}
	var err error
	if f.Framing != nil {
		// One write per answer, so that no control frame of ws comes between.
		_ = c.lane.SetWriteDeadline(time.Time{})
		_, err = c.lane.Write(f.Framing(message))
	} else {
		err = c.ws.WriteMessage(websocket.BinaryMessage, message)
	}
	if err == nil {
		c.sent += int64(n)
		c.server.stats.update(func(t *Stats) { t.Sent++ })
	}
	return err
}

// finish ends the answer. message is the one that is not sent any more.
func (c *socket) finish(message []byte) {
	f := c.server.fault.on(c.endpoint)
	half := func() {
		frame := appendFrame(nil, finBit|opBinary, message, len(message))
		_, _ = c.lane.Write(frame[:len(frame)/2])
	}
	switch f.End {
	case EndCut:
		half()
		c.lane.cut()
		c.awaitEnd()
	case EndReset:
		half()
		c.lane.reset()
	case EndFIN:
		c.lane.fin()
		c.awaitEnd()
	case EndCode:
		c.writeClose(f.Code)
	case EndHold:
		c.hold = true
		c.CloseWrite()
	default: // the fault was lifted in between
		c.CloseWrite()
	}
}

// awaitEnd gives the client a while to end its half of the lane; a close now could become a reset.
func (c *socket) awaitEnd() { _ = c.lane.SetReadDeadline(time.Now().Add(cutWait)) }

// CloseWrite ends our half with a Close frame.
func (c *socket) CloseWrite() { c.writeClose(websocket.CloseNormalClosure) }

func (c *socket) writeClose(code int) {
	message := websocket.FormatCloseMessage(code, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(controlWait))
}

func (c *socket) writePing(data string) {
	_ = c.ws.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(controlWait))
}

// outwait discards what comes until the client closes the lane.
func (c *socket) outwait() {
	_ = c.lane.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, c.lane)
}

// Close sends a Close frame, unless one has been sent, and closes the lane.
func (c *socket) Close() {
	c.CloseWrite()
	_ = c.ws.Close()
}
