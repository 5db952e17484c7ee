// Package interop runs the real client binary against real peers, all on loopback:
//
//	curl, nc, dig -> outline-cli-ws -> front (TLS) -> bridge (WebSocket) -> ss-server -> target
//
// The front is Caddy with HTTP/1.1, HTTP/2 or HTTP/3, or one of nghttpx, HAProxy and Node with HTTP/2. Each
// translates extended CONNECT (RFC 8441, RFC 9220) to the upgrade of HTTP/1.1, all that the bridge knows.
//
// Nothing in the chain but the client shares code with this project: Caddy is a Go module, ss-server is
// Debian's shadowsocks-libev, and the bridge does with gorilla/websocket what Outline's server does. As
// ss-server ends a flow at the first FIN, half-closes are tested with a Shadowsocks server on the suite's own
// codec in its place.
//
// TestMonitoring puts Debian's prometheus beside it, with what deploy/prometheus and the dashboard ask for.
//
// setup.sh installs the programs; the tests carry the build tag interop. A test whose program is missing is
// skipped, or fails when INTEROP_REQUIRE=1 is set.
package interop
