package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

const hidden = "hidden-5f3a"

const secretFile = `
listen:
  socks5_users: [{username: alice, password: hidden-5f3a}]
status: {token: hidden-5f3a-hidden-5f3a}
upstreams:
  - tcp_wss: "wss://example.com:8443/hidden-5f3a/tcp?h2=1&key=hidden-5f3a"
    udp_wss: "wss://hidden-5f3a:hidden-5f3a@example.com/hidden-5f3a"
    cipher: aes-256-gcm
    secret: hidden-5f3a
    headers: {Authorization: "Bearer hidden-5f3a"}
`

func TestNothingPrintsSecrets(t *testing.T) {
	c := parse(t, secretFile)
	u := c.Upstreams[0]
	var asText, asJSON bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&asText, nil), slog.NewJSONHandler(&asJSON, nil)} {
		slog.New(h).Info("loaded", "config", c, "copy", *c, "upstream", u, "secret", u.Secret, "url", u.TCP,
			"list", c.Upstreams, "users", c.Listen.SOCKS5Users, slog.Group("g", "secret", &u.Secret))
	}
	marshalled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	dumped, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{
		"slog text": asText.String(),
		"slog json": asJSON.String(),
		"json":      string(marshalled),
		"yaml":      string(dumped),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%20v"} {
		outputs[verb] = fmt.Sprintf(verb+verb+verb+verb+verb, *c, c, u.Secret, &u.Secret, u.TCP)
	}
	for name, output := range outputs {
		if strings.Contains(output, hidden) || strings.Contains(output, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows a secret: %s", name, output)
		}
		if !strings.Contains(output, redacted) {
			t.Errorf("%s shows no placeholder: %s", name, output)
		}
	}
}

func TestReveal(t *testing.T) {
	u := parse(t, secretFile).Upstreams[0]
	if got := u.Secret.Reveal(); got != hidden {
		t.Errorf("Secret.Reveal() = %q, want %q", got, hidden)
	}
	want := "wss://example.com:8443/hidden-5f3a/tcp?h2=1&key=hidden-5f3a"
	if got := u.TCP.Reveal(); got != want {
		t.Errorf("URL.Reveal() = %q, want %q", got, want)
	}
}

func TestURLString(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"empty", "", ""},
		{"path and query", "wss://a.example/p?q=1", "wss://a.example/…"},
		{"port", "ws://a.example:8080", "ws://a.example:8080/…"},
		{"IPv6", "wss://[2001:db8::1]:443/p", "wss://[2001:db8::1]:443/…"},
		{"user", "wss://u:p@a.example/p", "wss://a.example/…"},
		{"no URL", "hidden", redacted},
		{"broken", "wss://a.example/%zz", redacted},
		{"opaque", "mailto:hidden", redacted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, got := range []string{NewURL(tt.raw).String(), fmt.Sprintf("%#v", NewURL(tt.raw))} {
				if got != tt.want {
					t.Errorf("URL(%q) prints %q, want %q", tt.raw, got, tt.want)
				}
			}
		})
	}
}

func TestEmptySecretPrintsEmpty(t *testing.T) {
	if got := fmt.Sprintf("<%v%s%#v>", Secret{}, Secret{}, Secret{}); got != "<>" {
		t.Errorf("the zero Secret prints %q, want <>", got)
	}
}

// A value in the wrong place may be a secret, so no error quotes any value.
func TestErrorsQuoteNoValue(t *testing.T) {
	forms := map[string]string{
		"text": "hidden-5f3a", "quoted": "'hidden-5f3a'", "list": "[hidden-5f3a]", "lists": "[[hidden-5f3a]]",
		"flow map": "{hidden: hidden-5f3a}", "braces": "{ {hidden-5f3a} }", "alias": "*hidden-5f3a",
		"anchor": "&hidden-5f3a", "tag": "!hidden-5f3a", "at": "@hidden-5f3a", "percent": "%hidden-5f3a",
		"colon": "a: hidden-5f3a", "open quote": `"hidden-5f3a`, "escape": `"\hidden-5f3a"`,
		"URL": "ftp://hidden-5f3a/hidden-5f3a", "bad URL": "'wss://a.example/hidden-5f3a%zz'",
		"URL with space": "'wss://a.example/hidden-5f3a x'", "bad port": "wss://a.example:hidden-5f3a/x",
		"address": "hidden-5f3a:99999", "v6": "::1:hidden-5f3a", "duration": "5hidden-5f3a",
	}
	for _, key := range leaves() {
		for form, value := range forms {
			file := []byte(fileWith(key, value))
			_, err := Parse("config.yaml", file, Checks{})
			if err != nil && strings.Contains(err.Error(), hidden) {
				t.Errorf("%s as %s is quoted by the error: %v", key, form, err)
			}
		}
	}
}

// One slip of the finger must not bring a secret into an error, nor the parser down.
func TestSlipsQuoteNoSecret(t *testing.T) {
	var files []string
	for i := range len(secretFile) {
		files = append(files, secretFile[:i], secretFile[:i]+secretFile[i+1:])
		for _, slip := range "{[:\"'&*!#\t\n-, ?%@" {
			files = append(files, secretFile[:i]+string(slip)+secretFile[i:])
		}
	}
	for _, file := range files {
		_, err := Parse("config.yaml", []byte(file), Checks{})
		if err == nil {
			continue
		}
		if _, ok := errors.AsType[Errors](err); !ok || strings.Contains(err.Error(), hidden) {
			t.Errorf("Parse of\n%s\ngives %T %v", file, err, err)
		}
	}
}

// fileWith returns a file that sets one key of the schema and, where it can, nothing else.
func fileWith(key, value string) string {
	var b strings.Builder
	indent := ""
	parts := strings.Split(key, ".")
	for _, part := range parts[:len(parts)-1] {
		name, isList := strings.CutSuffix(part, "[]")
		b.WriteString(indent + name + ":\n")
		indent += "  "
		if isList {
			b.WriteString(indent + "- zero: 0\n")
			indent += "  "
		}
	}
	return b.String() + indent + parts[len(parts)-1] + ": " + value + "\n"
}
