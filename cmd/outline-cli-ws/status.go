package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/app"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

const (
	// watchPeriod is how often -watch looks.
	watchPeriod = time.Second
	// tokenVariable is where the token is when the address does not come from a file.
	tokenVariable = "OUTLINE_WS_STATUS_TOKEN" //nolint:gosec // the name of a variable
)

// statusOptions are the flags of the command status.
type statusOptions struct {
	config string
	addr   string
	watch  bool
	json   bool
}

// runStatus shows how the running program is. The exit status is 0 when it is ready, 1 when it is not or does
// not answer.
func runStatus(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseStatusFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	client, err := o.client()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	v := &statusView{client: client, show: showTable, stdout: stdout, stderr: stderr}
	switch {
	case o.json && o.watch:
		v.show = showLine
	case o.json:
		v.show = showJSON
	case o.watch && isTerminal(stdout):
		v.show = showScreen
		v.stderr = stdout // in the place of the table
	}
	if o.watch {
		return v.watch(ctx)
	}
	return v.look(ctx)
}

const statusUsage = `Shows how the running program is.

Usage: outline-cli-ws status [-c config.yaml | -addr ADDRESS] [-watch] [-json]

Exit status: 0 when an upstream can be used, 1 when none can or the program does not answer.

`

func parseStatusFlags(args []string, stderr io.Writer) (statusOptions, error) {
	var o statusOptions
	fs := flag.NewFlagSet("outline-cli-ws status", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, statusUsage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.config, "c", "config.yaml", "configuration `file` that says where the status is")
	fs.StringVar(&o.addr, "addr", "", "`address` of the status, like 127.0.0.1:9101 or unix:/run/o.sock;\n"+
		"no file is read, a token comes from "+tokenVariable)
	fs.BoolVar(&o.watch, "watch", false, "again every second, until Ctrl-C")
	fs.BoolVar(&o.json, "json", false, "the whole report as JSON; with -watch each on a line")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q: see outline-cli-ws status -h", fs.Arg(0))
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

// client finds out where the status is. Without -addr the configuration says it, with its token.
func (o statusOptions) client() (*statusClient, error) {
	if o.addr != "" {
		return newStatusClient(o.addr, os.Getenv(tokenVariable))
	}
	c, err := app.LoadConfig(o.config)
	if err != nil {
		return nil, fmt.Errorf("%w\n-addr ADDRESS needs no file", err)
	}
	client, err := newStatusClient(c.Status.Listen, c.Status.Token.Reveal())
	if err == nil && !c.Status.Enable { // the program may have been started with -status
		client.hint = "; the status is off in " + o.config + ": set status.enable: true"
	}
	return client, err
}

// statusView looks at the status and shows what it saw.
type statusView struct {
	client         *statusClient
	show           func(w io.Writer, body []byte, seen sight) error
	stdout, stderr io.Writer

	last *report.Report // nil: none yet
}

// sight is one report, with what is needed to read it.
type sight struct {
	addr   string
	report *report.Report
	before *report.Report // the one before; nil: there was none
}

// look shows the status once and returns the exit status that it means.
func (v *statusView) look(ctx context.Context) int {
	body, r, err := v.client.report(ctx)
	if err == nil {
		err = v.show(v.stdout, body, sight{v.client.addr, r, v.last})
		v.last = r
	}
	switch {
	case ctx.Err() != nil:
		return exitFailed
	case err != nil:
		v.complain(err)
		return exitFailed
	case !r.Ready:
		return exitFailed
	}
	return exitOK
}

// complain says that there is no status, and how old the last one is.
func (v *statusView) complain(err error) {
	age := ""
	if v.last != nil {
		age = fmt.Sprintf(" (the last answer is of %s)", v.last.At.Local().Format(time.TimeOnly))
	}
	fmt.Fprintf(v.stderr, "no status from %s: %v%s%s\n", v.client.addr, err, age, v.client.hint)
}

// watch looks until ctx ends; the exit status is that of the last look that was not cut short.
func (v *statusView) watch(ctx context.Context) int {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	code := exitFailed
	for {
		latest := v.look(ctx)
		if ctx.Err() != nil {
			return code
		}
		code = latest
		select {
		case <-ctx.Done():
			return code
		case <-tick.C:
		}
	}
}
