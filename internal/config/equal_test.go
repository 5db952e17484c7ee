package config

import (
	"crypto/sha256"
	"crypto/x509"
	"reflect"
	"testing"
)

// Every field of an upstream but its weight and the file of its secret makes another upstream of it,
// those that are added later too.
func TestEqualSeesEveryField(t *testing.T) {
	changes := map[string]func(u *Upstream){
		"Name":       func(u *Upstream) { u.Name = "other" },
		"Weight":     nil,
		"TCP":        func(u *Upstream) { u.TCP = NewURL("wss://other") },
		"UDP":        func(u *Upstream) { u.UDP = NewURL("wss://other") },
		"Cipher":     func(u *Upstream) { u.Cipher = "aes-256-gcm" },
		"Secret":     func(u *Upstream) { u.Secret = NewSecret("other") },
		"SecretFile": nil,
		"Prefix":     func(u *Upstream) { u.Prefix = []byte("x") },
		"HalfClose":  func(u *Upstream) { u.HalfClose = HalfCloseDefer },
		"Headers":    func(u *Upstream) { u.Headers = map[string]Secret{"A": NewSecret("b")} },
		"TLS":        func(u *Upstream) { u.TLS.ServerName = "other" },
	}
	for i := range reflect.TypeFor[Upstream]().NumField() {
		name := reflect.TypeFor[Upstream]().Field(i).Name
		change, ok := changes[name]
		if !ok {
			t.Errorf("field %s: Equal does not look at it, as far as this test knows", name)
			continue
		}
		a, b := defaultUpstream(), defaultUpstream()
		if !a.Equal(b) {
			t.Fatal("two defaults differ")
		}
		if b.Weight, b.SecretFile = 7, "other"; change == nil {
			if !a.Equal(b) {
				t.Error("another weight or file of the secret makes another upstream")
			}
			continue
		}
		if change(&b); a.Equal(b) {
			t.Errorf("another %s does not make another upstream", name)
		}
	}
}

func TestEqualTLS(t *testing.T) {
	pool := func(subjects ...string) *x509.CertPool {
		p := x509.NewCertPool()
		for _, s := range subjects {
			p.AddCert(&x509.Certificate{Raw: []byte(s), RawSubject: []byte(s)})
		}
		return p
	}
	for name, tt := range map[string]struct {
		a, b TLS
		want bool
	}{
		"same authorities in another file": {
			TLS{CAFile: "a", RootCAs: pool("x")}, TLS{CAFile: "b", RootCAs: pool("x")}, true,
		},
		"other authorities": {TLS{RootCAs: pool("x")}, TLS{RootCAs: pool("y")}, false},
		"the system's":      {TLS{RootCAs: pool("x")}, TLS{}, false},
		"pins":              {TLS{PinSHA256: [][sha256.Size]byte{{1}}}, TLS{}, false},
	} {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%s: Equal = %v, want %v", name, got, tt.want)
		}
	}
}
