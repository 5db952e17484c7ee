// Package report is what the program says about itself, as plain data: metrics, the status API, its page and
// the command line show the same.
package report

import "time"

// Report is the whole program at one moment. Its JSON is the answer of GET /api/v1/status.
type Report struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Ready says that an upstream can be used for new TCP flows, or for UDP where no upstream carries TCP.
	Ready bool `json:"ready"`
	// Offline says that this host has no network: nothing is tried, and no upstream is to blame.
	Offline   bool       `json:"offline,omitempty"`
	Listeners []Listener `json:"listeners"`
	Flows     []Flows    `json:"flows"` // of applications, by protocol: tcp, then udp
	Upstreams []Upstream `json:"upstreams"`
	// WebSocket counts what is inside the WebSockets to all upstreams, those that are gone included.
	WebSocket Traffic    `json:"websocket"`
	Decisions []Decision `json:"decisions"` // the last switches, oldest first
	Switches  []Switches `json:"switches"`  // how many there were
	// Dropped are the datagrams of applications that were not relayed, by reason.
	Dropped map[string]uint64 `json:"dropped"`
	// GivenUp are the flows that were reset because memory ran out.
	GivenUp uint64 `json:"given_up"`
	Reload  Reload `json:"reload"`
	Tunnel  Tunnel `json:"tunnel"`
}

// Tunnel is the full tunnel. Without one everything is 0.
type Tunnel struct {
	Device    string            `json:"device,omitempty"` // empty: there is no tunnel
	AutoRoute bool              `json:"auto_route,omitempty"`
	Traffic   Traffic           `json:"traffic"` // IP packets
	Drops     map[string]uint64 `json:"drops"`   // packets that went no further, by reason
	Errors    map[string]uint64 `json:"errors"`  // of the device, by operation
}

// Listener is where the program accepts something.
type Listener struct {
	Kind string `json:"kind"` // socks5, metrics or status
	Addr string `json:"addr"`
}

// Flows are the flows of applications over one protocol.
type Flows struct {
	Proto   string            `json:"proto"`
	Open    int64             `json:"open"`
	Total   uint64            `json:"total"`   // since the start
	Waiting int64             `json:"waiting"` // for room under memory_limit
	Refused map[string]uint64 `json:"refused"` // that found none: too many flows, or too little memory
}

// Upstream is one configured server.
type Upstream struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"`
	// CertificateExpires is when the certificate does that the server showed last; zero: none was seen.
	CertificateExpires time.Time `json:"certificate_expires,omitzero"`
	// WebSocket counts what is inside the WebSockets to the server, probes and handshakes included.
	WebSocket Traffic `json:"websocket"`
	Paths     []Path  `json:"paths"` // tcp, then udp, as far as it carries them
}

// Path is an upstream over one protocol. Times that never were are left out.
type Path struct {
	Proto     string `json:"proto"`
	State     string `json:"state"`               // up, down or unknown
	Usable    bool   `json:"usable"`              // flows may be given to it
	Current   bool   `json:"current"`             // new flows go over it
	Preferred bool   `json:"preferred,omitempty"` // somebody chose it
	Drained   bool   `json:"drained,omitempty"`   // somebody took it out for new flows

	CoolUntil time.Time `json:"cool_until,omitzero"` // left out until then since a flow failed on it
	Score     Seconds   `json:"score"`               // (rtt + penalty + stale) / weight; the lowest is used
	RTT       Seconds   `json:"rtt"`                 // smoothed; 0 = never measured
	Penalty   Seconds   `json:"penalty"`             // for failures; decays
	Stale     Seconds   `json:"stale"`               // for an rtt that is old
	LastRTT   Seconds   `json:"last_rtt"`            // of the last probe that passed

	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	LastProbe   time.Time `json:"last_probe,omitzero"` // that passed
	LastAnswer  time.Time `json:"last_answer,omitzero"`

	Carrier string `json:"carrier,omitempty"` // h1, h2 or h3: what connected last
	Standby int    `json:"standby"`           // connections that are ready

	Flows    int               `json:"flows"`    // open now
	Selected uint64            `json:"selected"` // flows that were given to it
	Traffic  Traffic           `json:"traffic"`  // payload of flows
	Failures map[string]uint64 `json:"failures"` // flows that it failed, by reason
}

// Traffic counts since the start, or since the upstream's name was first configured.
type Traffic struct {
	BytesIn    uint64 `json:"bytes_in"` // towards the application
	BytesOut   uint64 `json:"bytes_out"`
	PacketsIn  uint64 `json:"packets_in,omitempty"` // datagrams, or messages of WebSocket
	PacketsOut uint64 `json:"packets_out,omitempty"`
}

// Add adds what other traffic counted.
func (t *Traffic) Add(other Traffic) {
	t.BytesIn += other.BytesIn
	t.BytesOut += other.BytesOut
	t.PacketsIn += other.PacketsIn
	t.PacketsOut += other.PacketsOut
}

// Decision is a switch of new flows from one upstream to another.
type Decision struct {
	At        time.Time `json:"at"`
	Proto     string    `json:"proto"`
	From      string    `json:"from,omitempty"` // nothing for the first one
	FromScore Seconds   `json:"from_score,omitempty"`
	To        string    `json:"to"`
	ToScore   Seconds   `json:"to_score"`
	Reason    string    `json:"reason"`
}

// Switches counts those of a protocol for one reason.
type Switches struct {
	Proto  string `json:"proto"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Reload is how changes of the configuration went.
type Reload struct {
	OK     uint64    `json:"ok"`
	Failed uint64    `json:"failed"`
	At     time.Time `json:"at,omitzero"` // of the last one
	Err    string    `json:"error,omitempty"`
}

// Seconds is a duration as JSON and Prometheus have it.
type Seconds float64

// SecondsOf converts.
func SecondsOf(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration converts back.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }
