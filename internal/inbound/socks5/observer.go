package socks5

// Observer learns what the server does. Its methods may be called concurrently, must return at once, and get
// their arguments from closed sets: proto is "tcp" or "udp", reason is one of "fragment", "header" and
// "source".
type Observer interface {
	// FlowOpened is called once a client's request is understood and there is room for it.
	FlowOpened(proto string)
	// FlowClosed is called once for each FlowOpened.
	FlowClosed(proto string)
	// PacketDropped is called for a client's datagram that is not relayed.
	PacketDropped(reason string)
}

// Protocols of a flow.
const (
	protoTCP = "tcp"
	protoUDP = "udp"
)

// Reasons to drop a datagram.
const (
	dropFragment = "fragment"
	dropHeader   = "header"
	dropSource   = "source"
)

// DropReasons are all of them.
func DropReasons() []string { return []string{dropFragment, dropHeader, dropSource} }

// unobserved is the Observer of a server without one.
type unobserved struct{}

func (unobserved) FlowOpened(string)    {}
func (unobserved) FlowClosed(string)    {}
func (unobserved) PacketDropped(string) {}
