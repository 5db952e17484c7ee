// Command caddy is the Caddy web server with only the modules that the interop suite needs.
//
//	caddy CONFIG.json
//
// It serves until SIGTERM. Everything it keeps goes below XDG_DATA_HOME and XDG_CONFIG_HOME.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/caddyserver/caddy/v2"

	// The modules that the configuration names: the HTTP server and its reverse proxy. TLS comes with the
	// server.
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return os.ErrInvalid
	}
	config, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	const forceReload = true
	if err := caddy.Load(config, forceReload); err != nil {
		return err
	}
	<-ctx.Done()
	return caddy.Stop()
}
