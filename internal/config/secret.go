package config

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

// redacted stands for everything that must not be seen.
const redacted = "[redacted]"

// Secret is a text that cannot be printed, logged or encoded. Its zero value is empty and prints as such.
type Secret struct{ text string }

// URL is the address of an upstream. Its path and query are secret; scheme, host and port are not.
type URL struct{ text string }

var (
	_ fmt.Formatter          = Secret{}
	_ fmt.Formatter          = URL{}
	_ slog.LogValuer         = Secret{}
	_ slog.LogValuer         = URL{}
	_ encoding.TextMarshaler = Secret{}
	_ encoding.TextMarshaler = URL{}
)

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text itself. What it returns must not reach a log or an error.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == "" }

// String returns a placeholder.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return redacted
}

// GoString returns a placeholder.
func (s Secret) GoString() string { return s.String() }

// Format writes a placeholder for every verb, %x and %#v included.
func (s Secret) Format(f fmt.State, _ rune) { writePlain(f, s.String()) }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// NewURL returns raw as a URL. Any text is accepted; what cannot be parsed is redacted as a whole.
func NewURL(raw string) URL { return URL{raw} }

// Reveal returns the URL as it stands in the file. What it returns must not reach a log or an error.
func (u URL) Reveal() string { return u.text }

// IsZero reports whether there is no URL.
func (u URL) IsZero() bool { return u.text == "" }

// String returns scheme and host, as in wss://example.com:8443/…
func (u URL) String() string {
	if u.text == "" {
		return ""
	}
	parsed, err := url.Parse(u.text)
	if err != nil || parsed.Host == "" {
		return redacted
	}
	return parsed.Scheme + "://" + parsed.Host + "/…"
}

// GoString returns the same as String.
func (u URL) GoString() string { return u.String() }

// Format writes the same as String for every verb.
func (u URL) Format(f fmt.State, _ rune) { writePlain(f, u.String()) }

// LogValue returns the same as String.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText returns the same as String.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// writePlain writes to a fmt.State, which keeps a write error itself.
func writePlain(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
