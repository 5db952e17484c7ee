package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// newLogger writes text to a terminal and JSON to everything else, unless the configuration chooses.
// Debugging the WebSocket layer means the level debug, at which the carriers log what goes over the wire.
func newLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	c, debug := cfg.Log, cfg.WebSocket.Debug
	o := &slog.HandlerOptions{Level: c.Level}
	if debug {
		o.Level = slog.LevelDebug
	}
	if c.Format == config.LogJSON || c.Format == config.LogAuto && !isTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// isTerminal reports whether w is a character device, which for standard error means a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// warnOfReaders warns when other users of this machine can read the secrets in the configuration, or in a
// file that it names.
func warnOfReaders(path string, c *config.Config, log *slog.Logger) {
	if readable, err := config.OthersCanRead(path); err == nil && readable {
		log.Warn("other users can read the configuration with its secrets", "fix", "chmod 600 "+path)
	}
	for _, u := range c.Upstreams {
		if u.SecretFile == "" {
			continue
		}
		if readable, err := config.OthersCanRead(u.SecretFile); err == nil && readable {
			log.Warn("other users can read the secret of an upstream", "upstream", u.Name,
				"fix", "chmod 600 "+u.SecretFile)
		}
	}
}
