package tun

// Observer learns what the server does. Its methods may be called concurrently and must return at once.
// proto is "tcp" or "udp".
type Observer interface {
	// FlowOpened is called when a flow begins.
	FlowOpened(proto string)
	// FlowClosed is called once for each FlowOpened.
	FlowClosed(proto string)
}

// unobserved is the Observer of a server without one.
type unobserved struct{}

func (unobserved) FlowOpened(string) {}
func (unobserved) FlowClosed(string) {}
