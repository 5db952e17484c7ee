// Command bench measures what the program costs, as a process of its own between a load and a server that are
// other processes: CPU seconds per gigabyte each way, and memory per idle flow. It prints one table.
//
//	go run ./test/bench [-size 1024] [-flows 1000]
//	go run ./test/bench -rtt 100ms [-size 1024]
//	go run ./test/bench -limit 64 [-flows 2000]
//
// With a round trip time it measures what a long path makes of the carriers instead: round trips to the first
// byte of an answer, and rates. With a limit of memory it holds idle flows in a control group with so many
// MiB and puts load on top of them. The exit status is 1 when the program did not cope, and 75 where no such
// group can be made.
//
// Compare figures of one run with each other only: machines are noisy.
package main

import (
	"context"
	"encoding/json"
	"errors"
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

// skipped is the status of a run that could not do its work and said why.
const skipped = 75

func main() {
	serve := flag.String("serve", "", "internal: be the server, with this `cipher`")
	path := flag.String("path", "", "internal: be the path to this `address`")
	rtt := flag.Duration("rtt", 0, "round trip `time` of a long path to measure")
	limit := flag.Int64("limit", 0, "`MiB` of memory that the program may have")
	size := flag.Int64("size", 1024, "`MiB` to transfer each way")
	flows := flag.Int("flows", 1000, "idle `flows` to hold")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *serve != "":
		err = beServer(ctx, *serve)
	case *path != "":
		err = bePath(ctx, *path, *rtt/2)
	case *limit > 0:
		err = withBinary(ctx, func(b built) error { return limited(ctx, b, *limit, *flows) })
	case *rtt > 0:
		err = withBinary(ctx, func(b built) error { return compareFar(ctx, b, *size<<20, *rtt) })
	default:
		err = withBinary(ctx, func(b built) error { return compare(ctx, b, *size<<20, *flows) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if errors.Is(err, errNoGroup) {
			os.Exit(skipped)
		}
		os.Exit(1)
	}
}

// built is the program under test, and a folder for its files.
type built struct{ binary, folder string }

func withBinary(ctx context.Context, do func(built) error) error {
	folder, err := os.MkdirTemp("", "outline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	binary, err := build(ctx, folder)
	if err != nil {
		return err
	}
	return do(built{binary, folder})
}

// compare prints what each carrier costs with each cipher.
func compare(ctx context.Context, b built, size int64, flows int) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "carrier\tcipher\tup CPU s/GB\tMB/s\tdown CPU s/GB\tMB/s\t"+
		"KiB per idle flow\tidle RSS MiB\t")
	for _, cipher := range ciphers {
		for _, c := range carriers {
			fmt.Fprintf(os.Stderr, "%s over %s ...\n", cipher, c.name)
			l := load{cipher: cipher, flag: c.flag, size: size, flows: flows, extra: nothingReady}
			r, err := measure(ctx, b, l)
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
