package transporttest

import (
	"fmt"
	"io"
)

func halfCloseChecks() []check {
	return []check{
		{"a ends its half first", aEndsFirst},
		{"b ends its half first", bEndsFirst},
		{"a ends its half without a byte", endsEmpty},
		{"a ends its half while b writes", endsDuringDownload},
		{"b ends its half while a writes", endsDuringUpload},
		{"write after CloseWrite", writeAfterCloseWrite},
		{"write after CloseRead", writeAfterCloseRead},
	}
}

func aEndsFirst(p *pair) error {
	request, answer := payload(small), payload(big)
	if err := p.together(sendAll(p.a, request), expectAll(p.b, request)); err != nil {
		return fmt.Errorf("from a: %w", err)
	}
	if err := p.together(sendAll(p.b, answer), expectAll(p.a, answer)); err != nil {
		return fmt.Errorf("from b, after a's end: %w", err)
	}
	return nil
}

func bEndsFirst(p *pair) error {
	greeting, upload := payload(small), payload(big)
	if err := p.together(sendAll(p.b, greeting), expectAll(p.a, greeting)); err != nil {
		return fmt.Errorf("from b: %w", err)
	}
	if err := p.together(sendAll(p.a, upload), expectAll(p.b, upload)); err != nil {
		return fmt.Errorf("from a, after b's end: %w", err)
	}
	return nil
}

func endsEmpty(p *pair) error {
	if err := p.together(p.a.CloseWrite, expectAll(p.b, nil)); err != nil {
		return fmt.Errorf("from a: %w", err)
	}
	return p.together(sendAll(p.b, payload(small)), expectAll(p.a, payload(small)))
}

func endsDuringDownload(p *pair) error {
	want := payload(big)
	return p.together(sendAll(p.b, want), expectAll(p.b, nil), func() error {
		if err := expect(p.a, want[:small])(); err != nil {
			return err
		}
		if err := p.a.CloseWrite(); err != nil {
			return fmt.Errorf("close write: %w", err)
		}
		return expectAll(p.a, want[small:])()
	})
}

func endsDuringUpload(p *pair) error {
	want := payload(big)
	return p.together(sendAll(p.a, want), expectAll(p.a, nil), func() error {
		if err := expect(p.b, want[:small])(); err != nil {
			return err
		}
		return p.together(p.b.CloseWrite, expectAll(p.b, want[small:]))
	})
}

func writeAfterCloseWrite(p *pair) error {
	if err := p.together(p.a.CloseWrite, expectAll(p.b, nil)); err != nil {
		return err
	}
	_, err := p.a.Write(payload(small))
	return wantError("write after CloseWrite", err)
}

func writeAfterCloseRead(p *pair) error {
	if err := p.a.CloseRead(); err != nil {
		return fmt.Errorf("close read: %w", err)
	}
	p.start(func() error { _, err := io.Copy(io.Discard, p.a); return err }) // must at least do no harm
	return p.together(sendAll(p.a, payload(big)), expectAll(p.b, payload(big)))
}
