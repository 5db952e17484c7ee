// Command chaos runs the program, as a process of its own, in front of three Outline servers, keeps flows of
// several kinds going through it, and breaks one server after another in every way that servers break. It
// prints what became of the flows, and its exit status is 1 when a figure falls short.
//
//	go run ./test/chaos [-seconds 120] [-flows 200] [-carrier h1|h2|h3]
//
// What it asks for: every flow that may be sent twice and had no byte of an answer yet (TLS, GET, download)
// succeeds, with little delay; no answer that was cut short ends like a whole one; no POST arrives twice; UDP
// works again soon, for an application that keeps its port. It runs for the given time and a little longer,
// on loopback alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

// errShort says that a figure fell short. The report has said which.
var errShort = errors.New("a figure fell short")

// options are the choices of a run.
type options struct {
	seconds int
	flows   int
	carrier string
}

// carriers are the flags of a URL for each carrier, and that alone.
var carriers = map[string]string{"h1": "", "h2": "?h2=only", "h3": "?h3=only"}

const minSeconds = 15 // less has no room for every fault

func (o options) check() error {
	if _, ok := carriers[o.carrier]; !ok {
		return fmt.Errorf("no carrier %q; there are h1, h2 and h3", o.carrier)
	}
	if o.seconds < minSeconds {
		return fmt.Errorf("%d seconds have no room for every fault; %d have", o.seconds, minSeconds)
	}
	if o.flows < 1 {
		return fmt.Errorf("%d flows show nothing", o.flows)
	}
	return nil
}

func main() {
	var o options
	flag.IntVar(&o.seconds, "seconds", 120, "how long to go on, in `seconds`")
	flag.IntVar(&o.flows, "flows", 200, "`flows` at a time")
	flag.StringVar(&o.carrier, "carrier", "h1", "what carries the WebSockets: `h1, h2 or h3`")
	serve := flag.Bool("serve", false, "internal: be a server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := o.check()
	switch {
	case *serve:
		err = beServer(os.Stdin, os.Stdout)
	case err == nil:
		err = inFolder(func(folder string) error { return run(ctx, o, folder) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// inFolder gives do a folder, which is kept for whoever wants to know why it failed.
func inFolder(do func(folder string) error) error {
	folder, err := os.MkdirTemp("", "outline-chaos-")
	if err != nil {
		return err
	}
	if err := do(folder); err != nil {
		return fmt.Errorf("%w; the client's log is %s", err, filepath.Join(folder, logName))
	}
	return os.RemoveAll(folder)
}

// run makes a world, breaks it according to plan, and reports.
func run(ctx context.Context, o options, folder string) error {
	fmt.Printf("%d flows at a time over %s for %d s, through one of three servers, which break in turn\n",
		o.flows, o.carrier, o.seconds)
	w, err := newWorld(ctx, o, folder)
	defer w.stop()
	if err != nil {
		return err
	}
	b := &book{began: time.Now()}
	if w.association, err = openAssociation(w.client.address(), b.began); err != nil {
		return err
	}
	working, enough := context.WithCancel(ctx)
	defer enough()
	l := startLoad(working, b, w, o.flows)
	s := script{world: w, book: b, told: func(line string) { fmt.Println(line) }}
	err = s.play(ctx, plan(time.Duration(o.seconds)*time.Second))
	enough()
	l.wait()
	if err != nil {
		return err
	}
	r := w.results(b)
	if r.print(os.Stdout); !r.good() {
		return errShort
	}
	return nil
}
