package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// sampleTime is over how long the best rate of a transfer is taken.
const sampleTime = time.Second

// far is what a long path makes of one carrier.
type far struct {
	// From a flow's request to the first byte of its answer, on a cold connection and on a warm one.
	first, next time.Duration
	standby     time.Duration // with standby: within it are 95 of 100 flows
	up, down    pace
}

// pace is how fast a transfer was, in MB/s.
type pace struct{ whole, best float64 }

// compareFar prints what each carrier makes of a path with that round trip time.
func compareFar(ctx context.Context, b built, size int64, rtt time.Duration) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "carrier\tfirst flow, RTT\tnext flow, RTT\twith standby, 95 %\t"+
		"up MB/s\tbest second\tdown MB/s\tbest second\tCPU s/GB\t")
	for _, c := range carriers {
		fmt.Fprintf(os.Stderr, "%s over %v ...\n", c.name, rtt)
		l := load{cipher: ciphers[1], flag: c.flag, size: size, rtt: rtt, extra: nothingReady}
		f, cost, err := measureFar(ctx, b, l)
		if err == nil {
			f.standby, err = measureStandby(ctx, b, l)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t\n", c.name,
			float64(f.first)/float64(rtt), float64(f.next)/float64(rtt), float64(f.standby)/float64(rtt),
			f.up.whole, f.up.best, f.down.whole, f.down.best, cost)
	}
	return table.Flush()
}

// measureFar returns the CPU seconds of the download's gigabyte too.
func measureFar(ctx context.Context, b built, l load) (f far, cost float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := set(ctx, b, l)
	defer r.stop()
	if err != nil {
		return f, 0, err
	}
	if f.first, err = r.answer(r.Echo); err != nil {
		return f, 0, err
	}
	if f.next, err = r.answer(r.Echo); err != nil {
		return f, 0, err
	}
	if f.up, err = r.upPace(r.Sink, l.size); err != nil {
		return f, 0, fmt.Errorf("upload: %w", err)
	}
	before, err := r.cpu()
	if err != nil {
		return f, 0, err
	}
	if f.down, err = r.downPace(r.Source, l.size); err != nil {
		return f, 0, fmt.Errorf("download: %w", err)
	}
	after, err := r.cpu()
	return f, (after - before).Seconds() / (float64(l.size) / 1e9), err
}

// measureStandby opens flows one after the other, somewhat slower than connections become ready.
func measureStandby(ctx context.Context, b built, l load) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l.extra = standbyReady
	r, err := set(ctx, b, l)
	defer r.stop()
	if err != nil {
		return 0, err
	}
	took := make([]time.Duration, 100)
	for i := range took {
		time.Sleep(5 * l.rtt)
		if took[i], err = r.answer(r.Echo); err != nil {
			return 0, err
		}
	}
	slices.Sort(took)
	return took[len(took)*95/100], nil
}

// answer is the time from a new flow's request to the first byte of the answer.
func (m meter) answer(target string) (time.Duration, error) {
	began := time.Now()
	conn, err := m.connect(target)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var b [1]byte
	if _, err := conn.Write(b[:]); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(conn, b[:])
	return time.Since(began), err
}

func (m meter) downPace(target string, size int64) (pace, error) {
	conn, err := m.connect(target)
	if err != nil {
		return pace{}, err
	}
	defer conn.Close()
	return steps(size, conn.Read)
}

// upPace sends and waits for the sink's answer to the end.
func (m meter) upPace(target string, size int64) (pace, error) {
	conn, err := m.connect(target)
	if err != nil {
		return pace{}, err
	}
	defer conn.Close()
	p, err := steps(size, conn.Write)
	if err != nil {
		return p, err
	}
	if err := conn.CloseWrite(); err != nil {
		return p, err
	}
	_, err = io.Copy(io.Discard, conn)
	return p, err
}

// steps moves size bytes and takes the rate over all of them and over the best sample.
func steps(size int64, move func([]byte) (int, error)) (p pace, err error) {
	block := make([]byte, 256<<10)
	began := time.Now()
	sampled, at := began, int64(0)
	for moved := int64(0); moved < size; {
		n, err := move(block)
		if err != nil {
			return p, errors.Join(err, fmt.Errorf("after %d of %d bytes", moved, size))
		}
		moved += int64(n)
		if took := time.Since(sampled); took >= sampleTime {
			p.best = max(p.best, rate(moved-at, took))
			sampled, at = time.Now(), moved
		}
	}
	p.whole = rate(size, time.Since(began))
	return p, nil
}

func rate(n int64, took time.Duration) float64 { return float64(n) / 1e6 / took.Seconds() }
