// Command bench measures what the program costs, as a process of its own between a load and a server that are
// other processes: CPU seconds per gigabyte each way, and memory per idle flow. It prints one table.
//
//	go run ./test/bench [-size 1024] [-flows 1000]
//
// Compare figures of one run with each other only: machines are noisy.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
)

// The table compares every carrier with every cipher of these.
var (
	ciphers  = []string{"chacha20-ietf-poly1305", "aes-256-gcm"}
	carriers = []struct{ name, flag string }{{"h1", ""}, {"h2", "?h2=only"}, {"h3", "?h3=only"}}
)

func main() {
	serve := flag.String("serve", "", "internal: be the server, with this `cipher`")
	size := flag.Int64("size", 1024, "`MiB` to transfer each way")
	flows := flag.Int("flows", 1000, "idle `flows` to hold")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, *size<<20, *flows, *serve)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, size int64, flows int, cipher string) error {
	if cipher != "" {
		return beServer(ctx, cipher)
	}
	folder, err := os.MkdirTemp("", "outline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	binary, err := build(ctx, folder)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "carrier\tcipher\tup CPU s/GB\tMB/s\tdown CPU s/GB\tMB/s\t"+
		"KiB per idle flow\tidle RSS MiB\t")
	for _, cipher := range ciphers {
		for _, c := range carriers {
			fmt.Fprintf(os.Stderr, "%s over %s ...\n", cipher, c.name)
			l := load{cipher: cipher, flag: c.flag, size: size, flows: flows}
			r, err := measure(ctx, binary, folder, l)
			if err != nil {
				return fmt.Errorf("%s over %s: %w", cipher, c.name, err)
			}
			fmt.Fprintf(table, "%s\t%s\t%.2f\t%.0f\t%.2f\t%.0f\t%.1f\t%.1f\t\n", c.name, cipher,
				r.up.cpuPerGB, r.up.rate, r.down.cpuPerGB, r.down.rate, r.perFlow, r.idle)
		}
	}
	return table.Flush()
}

// places is what the server tells about itself.
type places struct {
	Stream, CA         string
	Source, Sink, Echo string // targets
}

func (p places) print() error { return json.NewEncoder(os.Stdout).Encode(p) }
