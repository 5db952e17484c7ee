package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// minimal is what makes a file with anything else in it valid.
const minimal = `
upstreams:
  - tcp_wss: "wss://example.com/TCP_PATH"
    cipher: aes-256-gcm
    secret: YOUR_SECRET
`

func load(t *testing.T, path string) *Config {
	t.Helper()
	c, err := Load(path, Checks{})
	if err != nil {
		t.Fatalf("Load(%s):\n%v", path, err)
	}
	return c
}

func parse(t *testing.T, file string) *Config {
	t.Helper()
	c, err := Parse("config.yaml", []byte(file), Checks{})
	if err != nil {
		t.Fatalf("Parse of\n%s\n: %v", file, err)
	}
	return c
}

// decode is Parse that shows the decoder too.
func decode(t *testing.T, data []byte) (*Config, *decoder) {
	t.Helper()
	doc, err := parseYAML("config.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	c, d := decodeNode("config.yaml", doc, Checks{})
	if len(d.problems) > 0 {
		t.Fatal(d.problems.ordered())
	}
	return c, d
}

func same(t *testing.T, got, want *Config) {
	t.Helper()
	opts := cmp.Options{
		cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, Secret{}, URL{}),
		cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("config differs (-want +got):\n%s", diff)
	}
}
