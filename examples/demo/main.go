// Command demo shows the program at work on one machine, without the internet: it starts three Outline
// servers, a web page and a name server on loopback, runs the client in front of them, and fetches the page
// over TCP and resolves a name over UDP through it.
//
//	go run ./examples/demo          # stays until Ctrl-C
//	go run ./examples/demo -once    # ends with status 0 if everything worked
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// patience bounds each thing that the demo tries.
const patience = 15 * time.Second

func main() {
	once := flag.Bool("once", false, "end when everything was tried, with status 0 or 1")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stay := untilDone
	if *once {
		stay = leave
	}
	if err := run(ctx, os.Stdout, stay); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// leave and untilDone are what the demo does once everything was tried.
func leave(context.Context, io.Writer, string) {}

func untilDone(ctx context.Context, out io.Writer, proxy string) {
	fmt.Fprintf(out, "Now all three stand behind one SOCKS5 port. Try it yourself, in another terminal:\n\n")
	fmt.Fprintf(out, "  curl -x socks5h://%s http://%s/\n\n", proxy, pageHost)
	fmt.Fprintf(out, "Ctrl-C ends the demo.\n")
	<-ctx.Done()
}

func run(ctx context.Context, out io.Writer, stay func(context.Context, io.Writer, string)) error {
	w, err := startWorld()
	if err != nil {
		return err
	}
	defer w.close()
	fmt.Fprintf(out, "\nThree Outline servers run on this machine. The client reaches each its own way:\n\n")
	for i, s := range w.servers {
		u := upstreams[i]
		fmt.Fprintf(out, "  wss://%s  WebSocket on %s, %s\n", s.Addr(), u.name, u.cipher)
		if err := tryOne(ctx, out, w, i); err != nil {
			return fmt.Errorf("over %s: %w", u.name, err)
		}
	}
	c, err := startClient(ctx, w.entries...)
	if err != nil {
		return err
	}
	defer c.stop()
	stay(ctx, out, c.addr)
	return nil
}

// tryOne runs the client in front of one server.
func tryOne(ctx context.Context, out io.Writer, w *world, i int) error {
	c, err := startClient(ctx, w.entries[i])
	if err != nil {
		return err
	}
	defer c.stop()
	return try(ctx, out, c.addr)
}

// try uses the proxy as an application does and says what happened.
func try(ctx context.Context, out io.Writer, proxy string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	page, err := fetch(ctx, proxy, "http://"+pageHost+"/")
	if err != nil {
		return fmt.Errorf("fetch the page over TCP: %w", err)
	}
	fmt.Fprintf(out, "    TCP  ok  http://%s/ in %s: %q\n", pageHost, since(start), strings.TrimSpace(page))
	start = time.Now()
	answer, err := resolve(ctx, proxy, "example.com.")
	if err != nil {
		return fmt.Errorf("resolve a name over UDP: %w", err)
	}
	fmt.Fprintf(out, "    UDP  ok  example.com is %s, in %s\n\n", answer, since(start))
	return nil
}

func since(start time.Time) time.Duration { return time.Since(start).Round(100 * time.Microsecond) }
