package config

import (
	"errors"
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
		for _, p := range list {
			if p.Line < 0 || p.Line > 1+lineEnds(data) || p.Message == "" {
				t.Errorf("%+v of a file with %d ends of lines", p, lineEnds(data))
			}
		}
	})
}

// lineEnds counts everything that YAML 1.1 takes for the end of a line, and the end of the file.
func lineEnds(data []byte) int {
	n := 1
	for _, r := range string(data) {
		if strings.ContainsRune("\r\n\u0085\u2028\u2029", r) {
			n++
		}
	}
	return n
}

// checkValid checks what the rest of the program relies on.
func checkValid(t *testing.T, c *Config) {
	t.Helper()
	names := make(map[string]bool)
	for _, u := range c.Upstreams {
		unique := u.Name != "" && !names[u.Name]
		reachable := !u.TCP.IsZero() || !u.UDP.IsZero()
		if !unique || !reachable || u.Cipher == "" || u.Secret.IsZero() || u.Weight <= 0 ||
			len(u.Prefix) > maxPrefix {
			t.Errorf("upstream %+v is valid?", u)
		}
		names[u.Name] = true
	}
	checkListeners(t, &c.Listen)
	if len(names) == 0 || c.DialTimeout <= 0 {
		t.Errorf("config %+v is valid?", c)
	}
}

func checkListeners(t *testing.T, l *Listen) {
	t.Helper()
	for _, listener := range l.SOCKS5 {
		if !isLoopback(listener) && !l.AllowOpen && len(l.SOCKS5Users) == 0 {
			t.Errorf("the open listener %s is valid?", listener)
		}
	}
}
