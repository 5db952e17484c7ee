package transporttest

import (
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func abortChecks() []check {
	return []check{
		{"abort of a", abortA},
		{"abort of a during its read", abortDuringRead},
		{"abort of b", abortB},
		{"abort of b during an upload", abortDuringUpload},
	}
}

// What was on its way may be lost with an abort. What arrives must not look complete.

func abortA(p *pair) error {
	if err := p.carry(p.a, p.b, small); err != nil {
		return err
	}
	_ = transport.Abort(p.a)
	return wantBroken("b's read after the abort of a", drain(p.b)())
}

func abortDuringRead(p *pair) error {
	read := p.start(readOne(p.a))
	<-time.After(settle)
	_ = transport.Abort(p.a)
	return wantBroken("a's read during its abort", <-read)
}

func abortB(p *pair) error {
	if err := p.carry(p.b, p.a, small); err != nil {
		return err
	}
	_ = transport.Abort(p.b)
	return wantBroken("a's read after the abort of b", drain(p.a)())
}

func abortDuringUpload(p *pair) error {
	wrote, read := p.start(flood(p.a, nil)), p.start(func() error { return drain(p.a)() })
	if err := expect(p.b, make([]byte, big))(); err != nil {
		return err
	}
	_ = transport.Abort(p.b)
	if err := wantBroken("a's write after the abort of b", <-wrote); err != nil {
		return err
	}
	<-read // on TCP the write may have taken the error, and nothing is left for the read but EOF
	return nil
}
