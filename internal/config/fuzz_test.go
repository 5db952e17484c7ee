package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(secretFile))
	f.Add([]byte("x-a: &a {<<: *a}\nupstreams: [{<<: [*a, {<<: 5}]}, *a, &b [*b], null]\n"))
	for _, path := range []string{
		exampleFile, "testdata/compat.yaml", "testdata/errors/many.yaml", "testdata/errors/upstreams.yaml",
		"testdata/errors/places.yaml",
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		c, err := Parse("c.yaml", data, Checks{})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Parse of %d bytes took %v", len(data), took)
		}
		if err == nil {
			checkValid(t, c)
			return
		}
		list, ok := errors.AsType[Errors](err)
		if !ok || len(list) == 0 || len(list) > maxProblems+1 {
			t.Errorf("Parse = %d problems (%T), want a few Errors", len(list), err)
		}
		lines := 1 + strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), "\n")
		for _, p := range list {
			if p.Line < 0 || p.Line > lines+strings.Count(string(data), "\u0085")+strings.Count(string(data), "\u2028")+
				strings.Count(string(data), "\u2029") || p.Message == "" {
				t.Errorf("%+v of a file with %d lines", p, lines)
			}
		}
	})
}

// checkValid checks what the rest of the program relies on.
func checkValid(t *testing.T, c *Config) {
	t.Helper()
	names := make(map[string]bool)
	for _, u := range c.Upstreams {
		if u.Name == "" || names[u.Name] || !(u.Weight > 0) || u.Cipher == "" || u.Secret.IsZero() ||
			u.TCP.IsZero() && u.UDP.IsZero() || len(u.Prefix) > maxPrefix {
			t.Errorf("upstream %+v is valid?", u)
		}
		names[u.Name] = true
	}
	for _, l := range c.Listen.SOCKS5 {
		if !isLoopback(l) && !c.Listen.AllowOpen && len(c.Listen.SOCKS5Users) == 0 {
			t.Errorf("the open listener %s is valid?", l)
		}
	}
	if len(c.Upstreams) == 0 || c.DialTimeout <= 0 || c.Health.MinInterval > c.Health.MaxInterval {
		t.Errorf("config %+v is valid?", c)
	}
	if text := fmt.Sprintf("%+v", c); c.Upstreams[0].Secret.String() != redacted || !strings.Contains(text, redacted) {
		t.Errorf("config prints as %s", text)
	}
}
