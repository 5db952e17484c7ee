// Command outline-cli-ws lets applications reach the internet through Outline servers: it speaks SOCKS5 to
// them and Shadowsocks over WebSocket to the servers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/app"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2   // wrong flags, or a configuration with mistakes
	exitKilled = 130 // a second signal; what a shell reports for Ctrl-C
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags.
type options struct {
	config   string
	metrics  string
	noProbes bool
	version  bool
	overrides
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "status":
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runStatus(ctx, args[1:], stdout, stderr)
		case "tun":
			return runTun(args[1:], stdout, stderr)
		}
	}
	o, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case o.version:
		fmt.Fprintln(stdout, version())
		return exitOK
	}
	c, err := o.load()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	return serve(o, c, stderr)
}

// load reads the configuration, with what flags and environment say on top.
func (o options) load() (*config.Config, error) {
	c, err := app.LoadConfig(o.config)
	if err != nil {
		return nil, err
	}
	c.DisableProbes = c.DisableProbes || o.noProbes
	c.WebSocket.Debug = c.WebSocket.Debug || os.Getenv("OUTLINE_WS_DEBUG") == "1"
	if o.metrics != "" {
		c.Metrics.Listen = o.metrics
	}
	if err := o.apply(c); err != nil {
		return nil, err
	}
	return c, nil
}

// serve runs the program until a signal.
func serve(o options, c *config.Config, stderr io.Writer) int {
	log := newLogger(c, stderr)
	warnOfReaders(o.config, c, log)
	a, err := newApp(c, log)
	if err != nil {
		log.Error("cannot start", "err", err)
		return exitUsage
	}
	a.Load = func() (*config.Config, error) {
		c, err := o.load()
		if err == nil {
			warnOfReaders(o.config, c, log)
		}
		return c, err
	}
	s := watchSignals(func() { reload(a, log) })
	defer s.close()
	err = a.Run(s.stop, s.cut)
	switch {
	case err != nil:
		log.Error("ended", "err", err)
		return exitFailed
	case s.cut.Err() != nil:
		return exitKilled
	}
	return exitOK
}

// newApp builds the program and connects it with the service manager, if there is one.
func newApp(c *config.Config, log *slog.Logger) (*app.App, error) {
	service, err := app.OpenService()
	if err != nil {
		return nil, err
	}
	a, err := app.New(c, log)
	if err != nil {
		return nil, err
	}
	return a, a.Attach(service)
}

// reload has the program go on with what the file says now. A file with mistakes changes nothing.
func reload(a *app.App, log *slog.Logger) {
	if err := a.ReloadFile(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			log.Error("not reloaded: the configuration in force stays", "err", line)
		}
	}
}

const usage = `outline-cli-ws lets applications reach the internet through Outline servers.

Usage: outline-cli-ws [-c config.yaml]
       outline-cli-ws status [-c config.yaml | -addr ADDRESS] [-watch] [-json]
       outline-cli-ws tun status|down

`

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("outline-cli-ws", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.config, "c", "config.yaml", "configuration `file`")
	setMetrics := func(s string) (err error) {
		o.metrics, err = config.ParseMetricsListener(s)
		return err
	}
	fs.Func("metrics", "`address` at which Prometheus finds /metrics, like 127.0.0.1:9100", setMetrics)
	fs.BoolVar(&o.noProbes, "no-probes", false, "no health probes and no standby connections")
	o.define(fs)
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q: see outline-cli-ws -h", fs.Arg(0))
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

// version names the program, what built it and the platform.
func version() string {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	return fmt.Sprintf("outline-cli-ws %s %s %s", app.Version(), runtime.Version(), platform)
}
