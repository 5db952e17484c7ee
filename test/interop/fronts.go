package interop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StartNghttpx starts the proxy of nghttp2, which speaks HTTP/2 and HTTP/1.1.
func StartNghttpx(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	Require(t, "nghttpx")
	addr, cert := freeAddr(t, host), NewCertificate(t)
	cmd := exec.Command("nghttpx", "--conf=/dev/null", "--workers=1",
		"--frontend="+comma(addr), "--backend="+comma(backend)+";;proto=http/1.1", cert.Key, cert.Chain)
	return serveFront(t, cmd, Front{Addr: addr, CA: cert.CA})
}

// comma writes an address as nghttpx wants it.
func comma(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // made by this suite
	return host + "," + port
}

// haproxyConfig takes the address to serve, the certificate and the address of the backend.
const haproxyConfig = `global
	nbthread 2
	maxconn 1000
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	timeout tunnel 10m
frontend front
	bind %s ssl crt %s alpn h2,http/1.1
	http-request set-header Via "%%[req.ver] haproxy"
	default_backend bridge
backend bridge
	server bridge %s
`

// StartHAProxy starts HAProxy, which speaks HTTP/2 and HTTP/1.1.
func StartHAProxy(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	Require(t, "haproxy")
	addr, cert, dir := freeAddr(t, host), NewCertificate(t), t.TempDir()
	var pair []byte // HAProxy wants both in one file
	for _, path := range []string{cert.Chain, cert.Key} {
		pair = append(pair, readFile(t, path)...)
	}
	pem := writeFile(t, filepath.Join(dir, "pair.pem"), pair)
	config := fmt.Appendf(nil, haproxyConfig, addr, pem, backend)
	const foreground = "-db"
	cmd := exec.Command("haproxy", foreground, "-f", writeFile(t, filepath.Join(dir, "haproxy.cfg"), config))
	return serveFront(t, cmd, Front{Addr: addr, CA: cert.CA})
}

// StartNode starts a front on Node's own HTTP/2 server.
func StartNode(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	Require(t, "node")
	addr, cert := freeAddr(t, host), NewCertificate(t)
	cmd := exec.Command("node", filepath.Join("node", "front.mjs"), addr, cert.Chain, cert.Key, backend)
	return serveFront(t, cmd, Front{Addr: addr, CA: cert.CA})
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
