package tun

import "context"

// Gate says whether there is room for another flow. Its method may be called concurrently.
type Gate interface {
	// Enter waits a moment for room for a flow of proto, "tcp" or "udp". The flow calls leave, once, when it
	// ends. The error says why there is no room.
	Enter(ctx context.Context, proto string) (leave func(), err error)
}

// openGate is the Gate of a server without one.
type openGate struct{}

func (openGate) Enter(context.Context, string) (leave func(), err error) { return func() {}, nil }
