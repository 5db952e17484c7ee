package interop

import (
	"net"
	"net/netip"
	"os/exec"
	"testing"
)

// StartNghttpx starts the proxy of nghttp2, which speaks HTTP/2 and HTTP/1.1.
func StartNghttpx(t *testing.T, host netip.Addr, backend string) Front {
	t.Helper()
	Require(t, "nghttpx")
	addr, cert := freeAddr(t, host), NewCertificate(t)
	cmd := exec.Command("nghttpx", "--conf=/dev/null", "--single-process", "--workers=1",
		"--frontend="+comma(addr), "--backend="+comma(backend)+";;proto=http/1.1", cert.Key, cert.Chain)
	StartProcess(t, cmd).WaitServing(t, addr)
	return Front{Addr: addr, CA: cert.CA}
}

// comma writes an address as nghttpx wants it.
func comma(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // made by this suite
	return host + "," + port
}
