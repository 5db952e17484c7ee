package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// overrides are the flags that have the last word over the file. A container needs them: what the file says
// of listeners was written for a host.
type overrides struct {
	socks5    string // "" = as in the file
	allowOpen bool
	status    bool
}

func (o *overrides) define(fs *flag.FlagSet) {
	const socks5 = "`address` of the SOCKS5 listener in the place of listen.socks5"
	fs.Func("socks5", socks5, func(s string) (err error) {
		o.socks5, err = config.ParseListener(s)
		return err
	})
	fs.BoolVar(&o.allowOpen, "allow-open", false, "let other hosts use that listener without a password")
	fs.BoolVar(&o.status, "status", false, "show the status at status.listen, as status.enable does")
}

// apply changes a configuration that was read. What it refuses is what the file may not say either.
func (o overrides) apply(c *config.Config) error {
	if o.socks5 != "" {
		c.Listen.SOCKS5 = []string{o.socks5}
		c.Listen.AllowOpen = c.Listen.AllowOpen || o.allowOpen
		if c.Listen.Exposes(o.socks5) {
			return fmt.Errorf("-socks5 %s: other hosts can reach this listener and use it without a "+
				"password; set listen.socks5_users, or say -allow-open", o.socks5)
		}
	}
	if !o.status {
		return nil
	}
	c.Status.Enable = true
	if c.Status.Listen == "" || c.Status.Exposes() {
		return errors.New("-status: want a status.listen, and a status.token where other hosts can reach it")
	}
	return nil
}
