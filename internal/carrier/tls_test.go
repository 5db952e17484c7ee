package carrier

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestTLSConfig(t *testing.T) {
	options := TLSOptions{RootCAs: x509.NewCertPool(), ServerName: "front.example", Sessions: NewSessions()}
	c := options.Config("h2", "http/1.1")
	if c.MinVersion != tls.VersionTLS12 || c.InsecureSkipVerify || !c.DynamicRecordSizingDisabled {
		t.Errorf("Config() has minimum %x, skips verification: %v, sizes records: %v",
			c.MinVersion, c.InsecureSkipVerify, !c.DynamicRecordSizingDisabled)
	}
	if c.RootCAs != options.RootCAs || c.ClientSessionCache != options.Sessions || c.VerifyConnection != nil {
		t.Error("Config() has other roots or sessions, or checks pins without any")
	}
	if want := []string{"h2", "http/1.1"}; !slices.Equal(c.NextProtos, want) {
		t.Errorf("Config() speaks %v, want %v", c.NextProtos, want)
	}
}

func TestWithHost(t *testing.T) {
	shared := TLSOptions{}.Config("http/1.1")
	if got := WithHost(shared, "example.com").ServerName; got != "example.com" {
		t.Errorf("WithHost() has server name %q, want the host", got)
	}
	if shared.ServerName != "" {
		t.Errorf("WithHost() changed the shared configuration: %q", shared.ServerName)
	}
	named := TLSOptions{ServerName: "front.example"}.Config("http/1.1")
	if got := WithHost(named, "example.com").ServerName; got != "front.example" {
		t.Errorf("WithHost() has server name %q, want the user's", got)
	}
}

func TestCheckPins(t *testing.T) {
	leaf := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("leaf")}
	ca := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("authority")}
	other := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("other")}
	pin := func(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }
	state := tls.ConnectionState{
		VerifiedChains:   [][]*x509.Certificate{{leaf}, {leaf, ca}},
		PeerCertificates: []*x509.Certificate{leaf, other}, // sent, but part of no chain
	}
	tests := []struct {
		name string
		pins []Pin
		want error
	}{
		{"leaf", []Pin{pin(leaf)}, nil},
		{"authority", []Pin{pin(ca)}, nil},
		{"one of several", []Pin{pin(other), pin(leaf)}, nil},
		{"none", []Pin{{1}}, ErrPin},
		{"a certificate that was sent and not verified", []Pin{pin(other)}, ErrPin},
	}
	for _, tt := range tests {
		check := TLSOptions{Pins: tt.pins}.Config().VerifyConnection
		if err := check(state); !errors.Is(err, tt.want) {
			t.Errorf("%s: check of pins = %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := checkPins([]Pin{pin(leaf)}, tls.ConnectionState{}); !errors.Is(err, ErrPin) {
		t.Errorf("check of pins without certificates = %v, want %v", err, ErrPin)
	}
}

func TestErrorsHaveStages(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		stage Stage
		hint  string
	}{
		{"no such host", DialError(H1, &net.DNSError{Err: "no such host", Name: "x"}), StageResolve, ""},
		{"refused", DialError(H1, &net.OpError{Op: "dial", Err: io.EOF}), StageConnect, ""},
		{"expired", TLSError(H1, x509.CertificateInvalidError{Reason: x509.Expired}), StageTLS, "clock"},
		{"no CA", TLSError(H1, x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}), StageTLS, ""},
		{"unknown authority", TLSError(H1, x509.UnknownAuthorityError{}), StageTLS, "tls.ca_file"},
		{"anything else", TLSError(H1, io.EOF), StageTLS, ""},
	}
	for _, tt := range tests {
		e, ok := errors.AsType[*Error](tt.err)
		if !ok || e.Mode != H1 || e.Stage != tt.stage {
			t.Errorf("%s = %v, want an *Error at stage %s", tt.name, tt.err, tt.stage)
			continue
		}
		hinted := strings.Contains(e.Error(), "(")
		if hinted != (tt.hint != "") || !strings.Contains(e.Error(), tt.hint) {
			t.Errorf("%s = %v, want the hint %q", tt.name, e, tt.hint)
		}
	}
}

func TestStatusError(t *testing.T) {
	tests := []struct {
		code int
		want string
	}{
		{403, "server answered 403 Forbidden instead of 101"},
		{404, "server answered 404 Not Found instead of 101: is the path in the URL right?"},
		{502, "server answered 502 Bad Gateway instead of 101: " +
			"the proxy in front works, the Outline server behind it does not"},
	}
	for _, tt := range tests {
		if got := (&StatusError{Code: tt.code, Want: 101}).Error(); got != tt.want {
			t.Errorf("StatusError %d = %q, want %q", tt.code, got, tt.want)
		}
	}
}

func TestHostPort(t *testing.T) {
	for raw, want := range map[string]string{
		"wss://example.com/a":       "example.com:443",
		"ws://example.com/a":        "example.com:80",
		"wss://example.com:8443/a":  "example.com:8443",
		"wss://[2001:db8::1]/a":     "[2001:db8::1]:443",
		"ws://[2001:db8::1]:8080/a": "[2001:db8::1]:8080",
	} {
		target, err := ParseTarget(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := HostPort(target.URL); got != want {
			t.Errorf("HostPort(%s) = %s, want %s", raw, got, want)
		}
	}
}
