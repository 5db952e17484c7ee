package shadowsocks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// leaveTime is how long after an end without an answer the server may take to hang up altogether, by
	// which a target that refused is told from one that only ended its half first.
	leaveTime = 100 * time.Millisecond
	// drainTime is the age from which an end without an answer looks like a server that drained a stream it
	// could not decrypt, and not like a target that refused. Outline's server drains for up to a minute.
	drainTime = 30 * time.Second
)

// NoAnswerError says that the server hung up without a byte of an answer.
type NoAnswerError struct {
	After time.Duration // since the stream was opened
}

func (e *NoAnswerError) Error() string {
	if e.After >= drainTime {
		after := e.After.Round(time.Second)
		return fmt.Sprintf("server hung up after %s without an answer: is the secret right?", after)
	}
	return "server hung up without an answer: the target refused or cannot be reached"
}

// Is makes an early one a transport.ErrTarget.
func (e *NoAnswerError) Is(target error) bool {
	return target == transport.ErrTarget && e.After < drainTime
}

// peerGone is implemented by streams that can tell an end of the peer's half from the peer's departure.
type peerGone interface {
	PeerGone(within time.Duration) bool
}

// chunks holds buffers for chunks that do not fit the caller's.
var chunks = sync.Pool{New: func() any { return new([maxChunk + tagSize]byte) }}

// reader opens what comes from the server. It keeps its place when a deadline interrupts it. Only one
// goroutine may use it.
type reader struct {
	src      transport.StreamConn
	key      *Key
	opened   time.Time   // when the stream was
	finished atomic.Bool // our half has ended

	open counter
	err  error // the end; it stays

	// Where we are: the salt, then again and again a sealed length and a sealed payload.
	salt    [maxSalt]byte
	saltLen int
	head    [lengthSize]byte
	headLen int
	size    int // of the current chunk's sealed payload; 0 between chunks

	// The chunk that did not fit the caller's buffer, or was interrupted.
	own    *[maxChunk + tagSize]byte
	ownLen int    // sealed bytes in own
	rest   []byte // opened bytes in own, not yet returned
}

// wait reads up to the start of the next chunk's payload, and holds no buffer while it waits.
func (r *reader) wait() error {
	for r.err == nil && len(r.rest) == 0 && r.size == 0 {
		if err := r.next(); err != nil {
			return r.stop(err)
		}
	}
	return r.err
}

// next reads the salt, once, and a sealed length.
func (r *reader) next() error {
	if r.open.aead == nil {
		if err := r.readSalt(); err != nil {
			return err
		}
	}
	if err := fill(r.src, r.head[:], &r.headLen); err != nil {
		return err
	}
	r.headLen = 0
	n, err := r.open.openLength(&r.head)
	if err != nil {
		return err
	}
	r.size = n + tagSize
	return nil
}

func (r *reader) readSalt() error {
	salt := r.salt[:r.key.cipher.SaltSize()]
	if err := fill(r.src, salt, &r.saltLen); err != nil {
		return err
	}
	aead, err := r.key.session(salt)
	r.open.aead = aead
	return err
}

func (r *reader) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if err := r.wait(); err != nil {
			return 0, err
		}
		if len(r.rest) > 0 {
			break
		}
		if n, err := r.readChunk(p); n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.release()
	}
	return n, nil
}

// readChunk opens the current chunk in p where it fits. Otherwise it opens it in a buffer of ours, leaves it
// in rest and returns 0.
func (r *reader) readChunk(p []byte) (int, error) {
	sealed := p
	if r.own != nil || len(p) < r.size {
		if r.own == nil {
			r.own = chunks.Get().(*[maxChunk + tagSize]byte)
		}
		sealed = r.own[:]
	}
	sealed = sealed[:r.size]
	if err := fill(r.src, sealed, &r.ownLen); err != nil {
		r.keep(sealed[:r.ownLen])
		return 0, r.stop(err)
	}
	r.ownLen, r.size = 0, 0
	if err := r.open.open(sealed); err != nil {
		return 0, r.stop(err)
	}
	plain := sealed[:len(sealed)-tagSize]
	if r.own == nil {
		return len(plain), nil
	}
	if r.rest = plain; len(plain) == 0 {
		r.release()
	}
	return 0, nil
}

// keep saves the part of a chunk that a deadline left in the caller's buffer.
func (r *reader) keep(part []byte) {
	if r.own == nil && len(part) > 0 {
		r.own = chunks.Get().(*[maxChunk + tagSize]byte)
		copy(r.own[:], part)
	}
}

func (r *reader) release() {
	chunks.Put(r.own)
	r.own, r.rest = nil, nil
}

// fill reads until p is full; *n counts what is there already and survives an error.
func fill(src io.Reader, p []byte, n *int) error {
	for *n < len(p) {
		m, err := src.Read(p[*n:])
		*n += m
		if err != nil && *n < len(p) {
			return err
		}
	}
	return nil
}

// stop makes every error but a deadline's last, and says what an end at this place means.
func (r *reader) stop(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
		err = r.endHere()
	}
	r.err = err
	return err
}

// endHere returns what the clean end of the stream below means: io.EOF between chunks, an error inside one,
// and without any answer it depends on whether the server only ended its half.
func (r *reader) endHere() error {
	switch {
	case r.size > 0 || r.headLen > 0 || r.saltLen > 0 && r.open.aead == nil:
		return fmt.Errorf("stream ended in the middle of a chunk: %w", io.ErrUnexpectedEOF)
	case r.saltLen > 0 || r.finished.Load():
		return io.EOF
	}
	if p, ok := r.src.(peerGone); ok && p.PeerGone(leaveTime) && !r.finished.Load() {
		return &NoAnswerError{After: time.Since(r.opened)}
	}
	return io.EOF
}
