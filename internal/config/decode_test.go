package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestMergeAndAnchors(t *testing.T) {
	c := parse(t, `
x-base: &base
  cipher: aes-256-gcm
  secret: one
  tls: {server_name: base.example}
x-heavy: &heavy {weight: 3, secret: two}
x-both: &both
  <<: [*heavy, *base]
  half_close: defer
x-anything: [{at: all}, *heavy]
listen: &listen {allow_open: &yes true}
tun: {debug: *yes}
upstreams:
  - &first
    <<: *base
    tcp_wss: wss://a.example/p
  - {<<: *both, tcp_wss: wss://b.example/p}
  - {<<: *both, tcp_wss: wss://c.example/p, weight: 5, tls: {}}
  - {<<: [*first, *heavy], name: d}
  - {<<: [*first, *heavy], name: e, weight: null} # null takes a merged key away
  - *first
`)
	want := []Upstream{
		{
			Name:      "a.example",
			Weight:    1,
			Secret:    NewSecret("one"),
			HalfClose: "close-frame",
			TLS:       TLS{ServerName: "base.example"},
		},
		{
			Name:      "b.example",
			Weight:    3,
			Secret:    NewSecret("two"),
			HalfClose: "defer",
			TLS:       TLS{ServerName: "base.example"},
		},
		{Name: "c.example", Weight: 5, Secret: NewSecret("two"), HalfClose: "defer"},
		{
			Name:      "d",
			Weight:    3,
			Secret:    NewSecret("one"),
			HalfClose: "close-frame",
			TLS:       TLS{ServerName: "base.example"},
		},
		{
			Name:      "e",
			Weight:    1,
			Secret:    NewSecret("one"),
			HalfClose: "close-frame",
			TLS:       TLS{ServerName: "base.example"},
		},
		{
			Name:      "a.example-2",
			Weight:    1,
			Secret:    NewSecret("one"),
			HalfClose: "close-frame",
			TLS:       TLS{ServerName: "base.example"},
		},
	}
	for i := range want {
		want[i].Cipher = "aes-256-gcm"
		want[i].TCP = c.Upstreams[i].TCP
	}
	got := *c
	got.Upstreams = append([]Upstream(nil), c.Upstreams...)
	expected := *c
	expected.Upstreams = want
	same(t, &got, &expected)
	if !c.TUN.Debug {
		t.Error("tun.debug as an alias of true = false, want true")
	}
}

func TestMergeMistakes(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{
			"into itself",
			"x-a: &a\n  <<: *a\n  cipher: x\nupstreams:\n  - {<<: *a, tcp_wss: wss://a.example, secret: s}\n",
			"c.yaml:2: upstreams[0]: << merges a map into itself",
		},
		{
			"a ring through a list", "x-a: &a {<<: [{<<: *a}], cipher: x}\n" +
				"upstreams: [{<<: *a, tcp_wss: wss://a.example, secret: s}]\n",
			"c.yaml:1: upstreams[0]: << merges a map into itself",
		},
		{
			"list of texts", "log: {<<: [a]}" + minimal,
			"c.yaml:1: log: got text, want << to name a map or a list of maps",
		},
		{
			"recursive list", "upstreams: &a [*a]\n",
			"c.yaml:1: upstreams[0]: got a list, want keys below it, indented",
		},
		{
			"recursive map", "log: &a {level: *a}" + minimal,
			"c.yaml:1: log.level: got a map, want debug, info, warn or error",
		},
		{
			"a mistake that is shared is said once", "x-a: &a {wieght: 1, cipher: [x]}\nupstreams:\n" +
				strings.Repeat("  - {<<: *a, tcp_wss: wss://a.example, secret: s}\n", 3),
			"c.yaml:1: upstreams[0].wieght: unknown key; did you mean weight?\n" +
				"c.yaml:1: upstreams[0].cipher: got a list, want the name of a cipher",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(tt.file), Checks{})
			wantText(t, err, tt.want)
		})
	}
}

func TestDuplicateKeys(t *testing.T) {
	file := "log: {}\nupstreams:\n- tcp_wss: wss://a.example/p\n  secret: s\n  cipher: c\n  tls: {}\n" +
		"  secret: t\nlog: {}\nlog: {}\n"
	_, err := Parse("c.yaml", []byte(file), Checks{})
	wantText(t, err, `c.yaml:7: upstreams[0].secret: is set twice, first on line 4
c.yaml:8: log: is set twice, first on line 1
c.yaml:9: log: is set twice, first on line 1`)
}

func TestPiecesOfValuesAreNotShown(t *testing.T) {
	const user = "listen.socks5_users[0]."
	tests := []struct{ name, keys, want string }{
		{"comma", "password: b,c", user + "…: unknown key; a value with a comma in it needs quotes"},
		{
			"comma and colon",
			"password: b, c: d",
			user + "…: unknown key; a value with a comma in it needs quotes",
		},
		{"twice", "password: b, c, c", user + "…: is set twice, first on line 1"},
		{"known key twice", "password: b, password: c", user + "password: is set twice, first on line 1"},
		{"misspelt", "password: b, pasword: c", user + "pasword: unknown key; did you mean password?"},
		{
			"quoted",
			`password: b, "colour": c`,
			user + "colour: unknown key; a value with a comma in it needs quotes",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := "listen: {socks5_users: [{username: a, " + tt.keys + "}]}" + minimal
			_, err := Parse("c.yaml", []byte(file), Checks{})
			if !strings.Contains(fmt.Sprint(err)+"\n", "c.yaml:1: "+tt.want+"\n") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A value that begins like YAML's own signs looks empty or odd to the parser; say so.
func TestValuesThatNeedQuotes(t *testing.T) {
	const file = "upstreams:\n- tcp_wss: wss://a.example/p\n  cipher: c\n  secret: "
	tests := []struct{ name, value, want string }{
		{"anchor", "&abc", "is empty: & names an anchor; a value that starts with & needs quotes"},
		{"tag", "!abc", "starts with a YAML tag, want text; a value that starts with ! needs quotes"},
		{"comment", "#abc", "is missing"},
		{
			"binary",
			"!!binary YWJj",
			"starts with a YAML tag, want text; a value that starts with ! needs quotes",
		},
		{"empty", `""`, "is missing"},
		{"list", "[abc]", "got a list, want text"},
		{"map", "{abc}", "got a map, want text"},
		{"long", strings.Repeat("x", maxText+1), "is longer than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(file+tt.value+"\n"), Checks{})
			line := 4
			if tt.name == "comment" {
				line = 2 // the key has no value, so it is absent
			}
			wantText(t, err, fmt.Sprintf("c.yaml:%d: upstreams[0].secret: %s", line, tt.want))
		})
	}
}

func TestAliasesCannotMultiply(t *testing.T) {
	var merges strings.Builder
	merges.WriteString("x-0: &m0 {cipher: c, secret: s}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&merges, "x-%d: &m%d {<<: [*m%d, *m%d]}\n", i, i, i-1, i-1)
	}
	wide := strings.Builder{}
	wide.WriteString("x-h: &h {")
	for i := range 5000 {
		fmt.Fprintf(&wide, "h%d: v,", i)
	}
	wide.WriteString("}\n")
	const entry = "{headers: *h, tcp_wss: wss://a.example, cipher: c, secret: s},"
	files := map[string]string{
		"merges of merges": merges.String() + "upstreams: [{<<: *m39, tcp_wss: wss://a.example}]\n",
		"wide maps":        wide.String() + "upstreams: [" + strings.Repeat(entry, 5000) + "]\n",
		"many entries": "x-a: &a {tcp_wss: wss://a.example, cipher: c, secret: s}\nupstreams: [" +
			strings.Repeat("*a,", 200_000) + "]\n",
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("c.yaml", []byte(file), Checks{})
			if err == nil ||
				!strings.Contains(err.Error(), "more than 100000 values; do aliases multiply them?") {
				t.Errorf("Parse = %v, want too many values", err)
			}
			t.Logf("%d bytes took %v", len(file), time.Since(start))
		})
	}
}
