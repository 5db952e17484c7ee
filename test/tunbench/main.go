//go:build linux && !unit

// Tunbench measures what the full tunnel costs: processor time of the relaying process for each gigabyte
// through a TUN device, next to the same relay behind a plain kernel redirect, and to the tunnel without
// super-segments.
//
// Two network namespaces of its own stand for the machine and the internet. In that of the machine a client
// connects to an address that exists nowhere; a relay in another process takes that connection, from the
// device or from an nft redirect, and connects to the server in the other namespace. Neither encrypts
// anything.
//
// It needs root, ip and nft. The status is 1 when a figure misses its target.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

type options struct {
	role     string
	mode     string
	streams  int
	download bool
	flows    int
	duration time.Duration
	rounds   int
}

func main() {
	var o options
	flag.StringVar(&o.role, "role", "", "what a child process is")
	flag.StringVar(&o.mode, "mode", modeTunnel, "how a relay gets its connections")
	flag.IntVar(&o.streams, "streams", 1, "streams of a client")
	flag.BoolVar(&o.download, "download", false, "a client receives")
	flag.IntVar(&o.flows, "flows", 1000, "flows to hold")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "how long every measurement takes")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, of which the median counts; of datagrams the best")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "tunbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch o.role {
	case "":
		return bench(ctx, o)
	case roleServer:
		return runServer(ctx)
	case roleRelay:
		return runRelay(ctx, o.mode)
	case roleClient:
		return runClient(ctx, o)
	case roleDatagrams:
		return runDatagrams(ctx, o)
	case roleHold:
		return runHold(ctx, o)
	}
	return errors.New("no such role: " + o.role)
}
