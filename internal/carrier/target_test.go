package carrier

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"h3=only": strictPatience, "h2=only": strictPatience, "h3=1": 0, "connect=only&h3=1": 0,
	} {
		target, err := ParseTarget("wss://example.com/?" + query)
		if got := target.Patience(); err != nil || got != want {
			t.Errorf("Patience() of %s = %v, %v, want %v", query, got, err, want)
		}
	}
}

func TestParseTargetModes(t *testing.T) {
	tests := []struct {
		query string
		want  []Mode
	}{
		{"", []Mode{H1}},
		{"?other=1", []Mode{H1}},
		{"?h2=0&h3=false&quic=no&h2only=off", []Mode{H1}},
		{"?connect=1&extended_connect=yes", []Mode{H1}}, // only "only" makes it a flag
		{"?H2=TRUE", []Mode{H2, H1}},
		{"?h3=1&h2=1", []Mode{H3, H2, H1}},
		{"?h2=only&h3=1", []Mode{H2}},
		{"?h3=only&h2=1", []Mode{H3}},
		{"?h2=only&connect=only", []Mode{H2}},
		{"?connect=only&h3=1", []Mode{H3, H2}},
		{"?h2=strict", []Mode{H2}},
		{"?h2only=only", []Mode{H2}},
	}
	for _, name := range []string{"h2", "http2", "h2c", "rfc8441"} {
		for _, value := range []string{"1", "true", "yes", "on"} {
			tests = append(tests, row("?"+name+"="+value, H2, H1))
		}
		tests = append(tests, row("?"+name+"=only", H2))
	}
	for _, name := range []string{"h3", "http3", "quic", "rfc9220"} {
		for _, value := range []string{"1", "true", "yes", "on"} {
			tests = append(tests, row("?"+name+"="+value, H3, H2, H1))
		}
		tests = append(tests, row("?"+name+"=only", H3))
	}
	tests = append(tests, row("?h2only=1", H2), row("?h3only=1", H3))
	for _, name := range []string{"connect", "extended_connect", "extended-connect", "connect_protocol"} {
		tests = append(tests, row("?"+name+"=only", H2))
	}
	for _, tt := range tests {
		got, err := ParseTarget("wss://example.com/path" + tt.query)
		if err != nil || !slices.Equal(got.Modes, tt.want) {
			t.Errorf("ParseTarget(%s) has modes %v, %v, want %v", tt.query, got.Modes, err, tt.want)
		}
	}
}

func row(query string, modes ...Mode) struct {
	query string
	want  []Mode
} {
	return struct {
		query string
		want  []Mode
	}{query, modes}
}

// What is no flag goes to the server byte for byte.
func TestParseTargetURL(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"wss://example.com/secret", "wss://example.com/secret"},
		{"wss://example.com", "wss://example.com"},
		{"WSS://Example.com:8443/A/b", "wss://Example.com:8443/A/b"},
		{"https://example.com/a", "wss://example.com/a"},
		{"http://example.com/a", "ws://example.com/a"},
		{"ws://127.0.0.1:8080/a", "ws://127.0.0.1:8080/a"},
		{"wss://[2001:db8::1]/a", "wss://[2001:db8::1]/a"},
		{"wss://[2001:db8::1]:8443/a", "wss://[2001:db8::1]:8443/a"},
		{"wss://example.com:/a", "wss://example.com/a"},
		{"wss://[::1]:/a", "wss://[::1]/a"},
		{"wss://example.com/a#fragment", "wss://example.com/a"},
		{"wss://example.com/a?", "wss://example.com/a"},
		{"wss://example.com/a%2Fb/c%20d/", "wss://example.com/a%2Fb/c%20d/"},
		{"wss://example.com//a//b", "wss://example.com//a//b"},
		{"wss://example.com/a?h2=1", "wss://example.com/a"},
		{"wss://example.com/a?a=1&&b&h2=1&c=%2F", "wss://example.com/a?a=1&&b&c=%2F"},
		{"wss://example.com/a?z=1&a=2&h3=only&z=0", "wss://example.com/a?z=1&a=2&z=0"},
		{"wss://example.com/a?x=a+b%20c;d&quic=1", "wss://example.com/a?x=a+b%20c;d"},
		{"wss://example.com/a?connect=1&h22=1&xh2=only", "wss://example.com/a?connect=1&h22=1&xh2=only"},
		{"wss://example.com/a?origin=x&b=2", "wss://example.com/a?b=2"},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.raw)
		if err != nil || got.URL.String() != tt.want {
			t.Errorf("ParseTarget(%s) = %v, %v, want %s", tt.raw, got.URL, err, tt.want)
		}
	}
}

func TestParseTargetOrigin(t *testing.T) {
	tests := []struct{ query, want string }{
		{"", ""},
		{"?origin=", ""},
		{"?origin=https://Example.com", "https://Example.com"},
		{"?origin=https%3A%2F%2Fexample.com%3A8443", "https://example.com:8443"},
		{"?h2=1&Origin=null&a=b", "null"},
	}
	for _, tt := range tests {
		got, err := ParseTarget("wss://example.com/" + tt.query)
		if err != nil || got.Origin != tt.want {
			t.Errorf("ParseTarget(%s) has origin %q, %v, want %q", tt.query, got.Origin, err, tt.want)
		}
	}
}

// Every mistake has words that tell what to change, and none repeats the path or the query.
func TestParseTargetRefuses(t *testing.T) {
	tests := []struct{ raw, says string }{
		{"", "start it with wss://"},
		{"example.com/hidden", "start it with wss://"},
		{"/hidden", "start it with wss://"},
		{"ftp://example.com/hidden", "unknown URL scheme: use wss or ws"},
		{"wss:///hidden", "without a host"},
		{"wss://:443/hidden", "without a host"},
		{"wss:example.com/hidden", "without a host"},
		{"wss://user:hidden@example.com/", "user name"},
		{"wss://example.com:https/hidden", "invalid port"},
		{"wss://example.com:0/hidden", "port that is not from 1 to 65535"},
		{"wss://example.com:65536/hidden", "port that is not from 1 to 65535"},
		{"wss://2001:db8::1/hidden", "brackets"},
		{"wss://[2001:db8::1/hidden", "brackets"},
		{"wss://example .com/hidden", "invalid character in the host"},
		{"wss://example.com/hidden%zz", "% must be followed by two hex digits"},
		{"wss://example.com/hidden\x00", "control characters"},
		{"wss://example.com/\r\nhidden", "control characters"},
		{"wss://example.com/?hidden=a b", "write %20"},
		{"wss://example.com/hidden?h2=hidden", "h2=1 or h2=only"},
		{"wss://example.com/hidden?quic", "quic=1 or quic=only"},
		{"wss://example.com/hidden?h3only=hidden", "use h3only=1"},
		{"wss://example.com/hidden?h2=only&h3=only", "exclude each other"},
		{"wss://example.com/hidden?h2only=1&rfc9220=only", "exclude each other"},
		{"wss://example.com::/hidden", "no host name"},
		{"wss://ex\x89mple.com/hidden", "no host name"},
		{"wss://пример.example/hidden", "xn--"},
		{"wss://example.com/hidden?origin=%zz", "origin"},
		{"wss://example.com/hidden?origin=hidden%0d%0aHost:%20x", "origin"},
		{"wss://example.com/hidden?origin=hidden%00", "origin"},
		{"ws://example.com/hidden?h2=only", "need TLS"},
		{"ws://example.com/hidden?connect=only", "need TLS"},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.raw)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("ParseTarget(%q) = %v, %v, want an error that says %q", tt.raw, got.URL, err, tt.says)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("ParseTarget(%q) = %v, which repeats what is secret", tt.raw, err)
		}
	}
}

func TestTargetHidesPath(t *testing.T) {
	target, err := ParseTarget("wss://example.com:8443/hidden?hidden=1")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, target); strings.Contains(got, "hidden") {
			t.Errorf("a target is printed as %s", got)
		}
	}
	if got, want := target.String(), "wss://example.com:8443"; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
}

func TestModeAndErrorText(t *testing.T) {
	cause := errors.New("cause")
	err := error(&Error{Mode: H2, Stage: StageSettings, Err: cause})
	if got, want := err.Error(), "h2 settings: cause"; got != want || !errors.Is(err, cause) {
		t.Errorf("Error() = %q, want %q around its cause", got, want)
	}
	if got := fmt.Sprint(H1, H2, H3); got != "h1 h2 h3" {
		t.Errorf("modes = %s", got)
	}
}

// FuzzParseTarget: no URL makes it panic, no error repeats a path, and what comes out can be put into a
// request line and is its own meaning.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []struct{ before, after string }{
		{"wss://example.com", "?h2=1&a=1&&b&c=%2F"},
		{"ws://[::1]:80", "b c%20d?origin=x&z"},
		{"https://example.com:8443", "#h3=1"},
		{"wss://user:pw@example.com", "%zz"},
		{"", "?h2=2"},
		{"wss://example.com:99999", "?connect=only&h3=only&h2=only"},
	} {
		f.Add(s.before, s.after)
	}
	const secret = "S3cr3t-p4th"
	f.Fuzz(func(t *testing.T, before, after string) {
		raw := before + "/" + secret + after
		target, err := ParseTarget(raw)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("ParseTarget(%q) = %v, which repeats the path", raw, err)
			}
			return
		}
		uri := target.URL.RequestURI()
		if strings.ContainsFunc(uri+target.URL.Host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			t.Errorf("ParseTarget(%q) goes out as %q to %q", raw, uri, target.URL.Host)
		}
		whole, _, _ := strings.Cut(raw, "#")
		_, query, _ := strings.Cut(whole, "?")
		if !isPartOf(target.URL.RawQuery, query) {
			t.Errorf("ParseTarget(%q) has query %q, want parts in their order", raw, target.URL.RawQuery)
		}
		again, err := ParseTarget(target.URL.String())
		if err != nil || again.URL.String() != target.URL.String() || !slices.Equal(again.Modes, []Mode{H1}) {
			t.Errorf("ParseTarget(%q) = %v, and that parsed again %v, %v", raw, target.URL, again.URL, err)
		}
	})
}

// isPartOf reports whether rest is query without some of its parts, of which each is a flag.
func isPartOf(rest, query string) bool {
	kept := strings.Split(rest, "&")
	for part := range strings.SplitSeq(query, "&") {
		if len(kept) > 0 && kept[0] == part {
			kept = kept[1:]
		} else if isFlag, _ := new(flags).parse(part); !isFlag {
			return false
		}
	}
	return len(kept) == 0 || rest == ""
}
