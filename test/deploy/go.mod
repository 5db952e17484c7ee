module github.com/outline-cli-ws/outline-cli-ws/test/deploy

go 1.26.0

require (
	github.com/outline-cli-ws/outline-cli-ws v0.0.0
	golang.org/x/net v0.62.0
)

require (
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	github.com/quic-go/quic-go v0.65.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/outline-cli-ws/outline-cli-ws => ../..
