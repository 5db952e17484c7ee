package tun

import "sync/atomic"

// Directions of packets, seen from the applications.
const (
	directionOut = iota // read from the device
	directionIn         // written to it
	directions
)

// Counters are what a server moved and dropped. All may be read while it serves.
type Counters struct {
	packets [directions]atomic.Uint64
	bytes   [directions]atomic.Uint64
	drops   [dropReasons]atomic.Uint64
	errors  [errorOps]atomic.Uint64
}

// drop is a reason why a packet went no further.
type drop uint8

// Reasons to drop a packet.
const (
	dropMalformed  drop = iota // no IP packet, or a header that lies
	dropInFlight               // too many connections are being opened
	dropFull                   // too many flows
	dropSize                   // larger than the upstream can carry
	dropFragment               // a fragment that met no others
	dropQueue                  // a flow's upstream is slower than its client
	dropNoSocket               // the upstream socket failed
	dropProtocol               // neither TCP, UDP nor an echo request
	dropNoUpstream             // no upstream can be used
	dropRefused                // not for this door: a rule, or a target that is no host
	dropReasons
)

// String is the label of metrics.
func (d drop) String() string {
	return [dropReasons]string{
		"malformed", "in_flight", "full", "size", "fragment", "queue", "no_socket", "protocol",
		"no_upstream", "refused",
	}[d]
}

// op is what failed.
type op uint8

// Operations on the device, and on upstream sockets.
const (
	opRead op = iota
	opWrite
	opSendUDP
	errorOps
)

// String is the label of metrics.
func (o op) String() string { return [errorOps]string{"read", "write", "udp_send"}[o] }

func (c *Counters) moved(direction, size int) {
	c.packets[direction].Add(1)
	c.bytes[direction].Add(uint64(size))
}

func (c *Counters) dropped(why drop) { c.drops[why].Add(1) }
func (c *Counters) failed(what op)   { c.errors[what].Add(1) }

// Snapshot is the state of Counters as plain data, by the names of metrics' labels.
type Snapshot struct {
	PacketsOut, PacketsIn uint64 // from the applications, to them
	BytesOut, BytesIn     uint64
	Drops                 map[string]uint64 // every reason
	Errors                map[string]uint64 // every operation
}

// Snapshot reads all counters, each by itself.
func (c *Counters) Snapshot() Snapshot {
	s := Snapshot{
		PacketsOut: c.packets[directionOut].Load(), PacketsIn: c.packets[directionIn].Load(),
		BytesOut: c.bytes[directionOut].Load(), BytesIn: c.bytes[directionIn].Load(),
		Drops:  make(map[string]uint64, dropReasons),
		Errors: make(map[string]uint64, errorOps),
	}
	for d := range dropReasons {
		s.Drops[d.String()] = c.drops[d].Load()
	}
	for o := range errorOps {
		s.Errors[o.String()] = c.errors[o].Load()
	}
	return s
}
