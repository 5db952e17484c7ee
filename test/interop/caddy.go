package interop

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Front is a running Caddy that does TLS and passes every request to a bridge.
type Front struct {
	Addr string
	CA   string // PEM file of the CA that signed its certificate
}

// StartCaddy starts program, built from the folder caddy, on host in front of the HTTP server at backend.
func StartCaddy(t *testing.T, program string, host netip.Addr, backend string) Front {
	t.Helper()
	addr := freeAddr(t, host)
	cert := NewCertificate(t)
	home := t.TempDir()
	config, err := json.MarshalIndent(caddyConfig(addr, backend, cert), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, "caddy.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, path)
	// Without the last one Go's HTTP/2 server does not offer extended CONNECT (RFC 8441).
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
		"GODEBUG=http2xconnect=1")
	StartProcess(t, cmd).WaitServing(t, addr)
	return Front{Addr: addr, CA: cert.CA}
}

// object is a JSON object of Caddy's configuration.
type object map[string]any

func caddyConfig(addr, backend string, cert Certificate) object {
	proxy := object{
		"handler":   "reverse_proxy",
		"upstreams": []object{{"dial": backend}},
	}
	server := object{
		"listen":                  []string{addr},
		"routes":                  []object{{"handle": []object{proxy}}},
		"automatic_https":         object{"disable": true},
		"tls_connection_policies": []object{{}},
	}
	certificates := object{
		"load_files": []object{{"certificate": cert.Chain, "key": cert.Key}},
	}
	return object{
		"admin": object{"disabled": true, "config": object{"persist": false}},
		"apps": object{
			"http": object{"servers": object{"front": server}, "grace_period": "1s"},
			"tls":  object{"certificates": certificates},
		},
	}
}
