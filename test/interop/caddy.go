package interop

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Whether Go's HTTP/2 server, and with it Caddy's, announces extended CONNECT (RFC 8441). Its default is not
// to.
const (
	extendedConnect   = "GODEBUG=http2xconnect=1"
	noExtendedConnect = "GODEBUG=http2xconnect=0"
)

// StartCaddy starts Caddy with HTTP/1.1, HTTP/2 and HTTP/3, extended CONNECT included.
func (p Programs) StartCaddy(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	return p.startCaddy(t, host, backend, extendedConnect, "h1", "h2", "h3")
}

// StartPlainCaddy starts Caddy as it comes: without extended CONNECT in HTTP/2, though with it in HTTP/3.
func (p Programs) StartPlainCaddy(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	return p.startCaddy(t, host, backend, noExtendedConnect, "h1", "h2", "h3")
}

// StartOldCaddy starts Caddy with HTTP/1.1 alone.
func (p Programs) StartOldCaddy(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	return p.startCaddy(t, host, backend, noExtendedConnect, "h1")
}

func (p Programs) startCaddy(
	t *testing.T, host netip.Addr, backend, variable string, protocols ...string,
) Front {
	t.Helper()
	addr := freeAddr(t, host)
	cert := NewCertificate(t)
	home := t.TempDir()
	config, err := json.MarshalIndent(caddyConfig(addr, backend, cert, protocols), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, filepath.Join(home, "caddy.json"), config)
	cmd := exec.Command(p.Caddy, path)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home, variable)
	front := Front{Addr: addr, CA: cert.CA, HTTP3: slices.Contains(protocols, "h3")}
	return serveFront(t, cmd, front)
}

// object is a JSON object of Caddy's configuration.
type object map[string]any

func caddyConfig(addr, backend string, cert Certificate, protocols []string) object {
	proxy := object{
		"handler":   "reverse_proxy",
		"upstreams": []object{{"dial": backend}},
	}
	server := object{
		"listen":                  []string{addr},
		"routes":                  []object{{"handle": []object{proxy}}},
		"automatic_https":         object{"disable": true},
		"protocols":               protocols,
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
