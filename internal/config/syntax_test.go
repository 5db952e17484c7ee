package config

import (
	"strings"
	"testing"
)

func TestSyntaxErrorsSpeakPlainly(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"empty", "", "c.yaml:1: the file is empty; it needs at least one entry in upstreams"},
		{
			"comments only",
			"# a\n# b\n",
			"c.yaml:1: the file is empty; it needs at least one entry in upstreams",
		},
		{"null", "---\n", "c.yaml:1: the file is empty; it needs at least one entry in upstreams"},
		{"text", "hello", "c.yaml:1: got text, want keys like listen: and upstreams:"},
		{"list", "# a\n- b\n", "c.yaml:2: got a list, want keys like listen: and upstreams:"},
		{
			"no upstreams",
			"# a\nlog: {}\n",
			"c.yaml:2: upstreams: there are no upstreams; the file needs at least one",
		},
		{
			"two documents",
			"log: {}\n---\nlog: {}\n",
			"c.yaml:2: a second document starts here, want one only; remove the line ---",
		},
		{
			"broken second document",
			"log: {}\n---\na: [1\n",
			"c.yaml:3: the list that starts with [ here is not closed",
		},
		{"tab", "listen:\n\tsocks5: x\n", "c.yaml:2: a tab in the indentation; YAML wants spaces"},
		{
			"tab behind spaces",
			"listen:\n  allow_open: true\n  \tsocks5: x\n",
			"c.yaml:3: a tab in the indentation; YAML wants spaces",
		},
		{
			"no space",
			"log: {}\nsecret:abc\nlisten: {}\n",
			`c.yaml:2: want "key: value"; is there a space after the colon?`,
		},
		{
			"two colons",
			"a: b: c\n",
			"c.yaml:1: a colon is not allowed here; is the line above complete, and the value in quotes?",
		},
		{
			"odd start",
			"log: {}\nsecret: @abc\n",
			"c.yaml:2: a value cannot start with this character; put the value in quotes",
		},
		{
			"alias",
			"secret: *abc\n",
			"c.yaml:1: * names an anchor that is not there; a value that starts with * needs quotes",
		},
		{"alias sign", "secret: *\n", "c.yaml:1: a value that starts with & or * needs quotes"},
		{"tag", "secret: !a!b c\n", "c.yaml:1: a value that starts with ! needs quotes"},
		{
			"open list",
			"log: {}\na: [1, 2\nb: 3\n",
			"c.yaml:2: the list that starts with [ here is not closed",
		},
		{
			"open list at the end",
			"a:\n- [\n",
			"c.yaml:3: a [ or { above is not closed, or a value is missing here",
		},
		{"open map", "a: {b: 1\n", "c.yaml:1: the map that starts with { here is not closed"},
		{"open quote", "log: {}\na: \"x\nb: 2\n", "c.yaml:2: the quote that starts here is not closed"},
		{
			"escape",
			`a: "\q"`,
			`c.yaml:1: an unknown escape after \; single quotes take every character as it is`,
		},
		{
			"hex escape",
			`a: "\xzz"`,
			`c.yaml:1: an unknown escape after \; single quotes take every character as it is`,
		},
		{
			"indentation",
			"a:\n    b: 1\n  c: 2\n",
			"c.yaml:3: does not fit the lines above; check the indentation and the quotes",
		},
		{
			"after the quote",
			"a: 'b'c\n",
			"c.yaml:1: does not fit the lines above; check the indentation and the quotes",
		},
		{"directive", "%abc\n", "c.yaml:1: a line cannot start with %; put the value in quotes"},
		{"nested", strings.Repeat("[", 1000), "c.yaml:1: is nested too deeply"},
		{"nested blocks", strings.Repeat("- ", 1000), "c.yaml:1: is nested too deeply"},
		{"UTF-16", "\xff\xfea\x00", "c.yaml:1: the file is UTF-16; save it as UTF-8"},
		{"Latin-1", "a: 1\nb: caf\xe9\n", "c.yaml:2: the file is not UTF-8 here; save it as UTF-8"},
		{
			"NUL",
			"a: 1\nb: \x00\n",
			"c.yaml:2: a control character; remove it, or write it as an escape in double quotes",
		},
		{"large", strings.Repeat("#", maxFile+1), "c.yaml: is larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(tt.file), Checks{})
			wantText(t, err, tt.want)
		})
	}
}

func TestGoodForms(t *testing.T) {
	for name, file := range map[string]string{
		"byte order mark":   "\ufeff" + minimal,
		"CR LF":             strings.ReplaceAll(minimal, "\n", "\r\n"),
		"document markers":  "---" + minimal + "...\n",
		"JSON":              `{"upstreams": [{"udp_wss": "ws://a.example", "cipher": "x", "secret": "y"}]}`,
		"flow and comments": "upstreams: [{udp_wss: ws://a.example, cipher: x, # c\n secret: y}]",
	} {
		t.Run(name, func(t *testing.T) { parse(t, file) })
	}
}
