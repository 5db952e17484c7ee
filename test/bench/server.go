package main

import (
	"context"
	"os"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

const secret = "bench"

// serverWindow is how much a client may have in flight on HTTP/2 and HTTP/3.
const serverWindow = 32 << 20

// endless is more than any run reads.
const endless = 1 << 40

// beServer is the other process: an Outline server and the targets behind it.
func beServer(ctx context.Context, cipher string) error {
	folder, err := os.MkdirTemp("", "outline-bench-ca-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	s, err := outlinetest.Start(outlinetest.Config{
		Cipher: cipher, Secret: secret,
		Protocols: outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	// What limits an upload shall not be the server.
	wide := outlinetest.Fault{Mux: outlinetest.Mux{Window: serverWindow, ConnWindow: serverWindow}}
	if err := s.SetFault(wide); err != nil {
		return err
	}
	source, err := outlinetest.StartGreeter("", endless)
	if err != nil {
		return err
	}
	defer source.Close()
	sink, err := outlinetest.StartSink("", 1)
	if err != nil {
		return err
	}
	defer sink.Close()
	echo, err := outlinetest.StartEcho("")
	if err != nil {
		return err
	}
	defer echo.Close()
	p := places{Stream: s.StreamURL(), Source: source.Addr(), Sink: sink.Addr(), Echo: echo.Addr()}
	if p.CA, err = s.WriteCA(folder); err != nil {
		return err
	}
	if err := p.print(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
