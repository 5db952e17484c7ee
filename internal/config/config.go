package config

import (
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"time"
)

// Config is a valid configuration. Absent keys have their defaults. It must not be changed once it is in use.
type Config struct {
	Listen        Listen
	Log           Log
	Mark          uint32        // SO_MARK of every socket that leaves; 0 = off
	DialTimeout   time.Duration // the most that opening one upstream may take
	DisableProbes bool          // no probes and no standby
	MemoryLimit   int64         // bytes of the whole process; 0 = none, or MemoryAuto
	WebSocket     WebSocket
	TUN           TUN
	Selection     Selection
	Failover      Failover
	StateFile     string // of scores and carrier memory; joined with the folder of the config file; "" = off
	Health        Health
	Probe         Probe
	Status        Status
	Relay         Relay
	Pool          Pool
	DNS           DNS
	Metrics       Metrics
	Upstreams     []Upstream // at least one, in the order of the file

	// Deprecated are the keys of the file that are accepted and have no meaning any more.
	Deprecated []string
	// Notes are facts about this file that its author may not expect, one sentence each.
	Notes []string
}

// Listen is where applications connect to.
type Listen struct {
	SOCKS5       []string   // "host:port" of each listener, with defaults applied; empty = SOCKS5 is off
	SOCKS5Users  []User     // empty = no authentication
	AllowOpen    bool       // listeners without users may be reachable from other hosts
	UDPAdvertise netip.Addr // what SOCKS5 UDP replies name; invalid = the address the client came in on
}

// User may use a SOCKS5 listener (RFC 1929).
type User struct {
	Username string // 1 to 255 bytes
	Password Secret // 1 to 255 bytes
}

// LogFormat is how log lines look.
type LogFormat string

// The log formats.
const (
	LogAuto LogFormat = "auto" // text on a terminal, JSON otherwise
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Log is what the program says about itself.
type Log struct {
	Format LogFormat
	Level  slog.Level
}

// WebSocket holds what concerns the WebSocket layer of all upstreams.
type WebSocket struct {
	Debug bool // log wire events
}

// Affinity is what stays on one upstream while that is usable.
type Affinity string

// The affinities.
const (
	AffinityNone   Affinity = "none"
	AffinityClient Affinity = "client" // its IP address
	AffinityTarget Affinity = "target" // its host
)

// Selection is how an upstream is picked for a flow.
type Selection struct {
	StickyTTL           time.Duration // keep the current upstream for so long at least
	Cooldown            time.Duration // leave an upstream out for so long after a flow failed on it
	MinSwitch           time.Duration // gain in score that is worth a switch
	Affinity            Affinity
	CloseOld            bool // when an upstream goes down, reset the flows that are still open on it
	WarmStandbyN        int  // ready-to-use paths per protocol; 0 = none
	WarmStandbyInterval time.Duration

	StandbyKeepalive             bool
	StandbyKeepaliveInterval     time.Duration
	StandbyKeepaliveProbeTimeout time.Duration
}

// Replay is which first bytes of a flow may be sent to another upstream.
type Replay string

// The replay policies.
const (
	// ReplaySafe is what does nothing twice at the target: a TLS ClientHello, an HTTP GET, HEAD or OPTIONS, a
	// DNS query, nothing yet, and what certainly did not leave.
	ReplaySafe  Replay = "safe"
	ReplayAny   Replay = "any"
	ReplayNever Replay = "never"
)

// Failover is what saves a flow that got no answer yet.
type Failover struct {
	Silence  time.Duration // unanswered for so long, a second upstream is tried beside the first; 0 = never
	Hedge    time.Duration // the same, earlier, for every flow; 0 = off, else at most Silence
	Replay   Replay
	Deadline time.Duration // after so long no further upstream is tried for a flow
}

// Health is when upstreams are probed and what the results mean.
type Health struct {
	Interval         time.Duration
	Timeout          time.Duration
	FailThreshold    int // failures in a row that make a path down
	SuccessThreshold int // successes in a row that make it up
	MinInterval      time.Duration
	MaxInterval      time.Duration
	Jitter           time.Duration
	BackoffFactor    float64
	RTTScale         float64
}

// Probe is what a probe does.
type Probe struct {
	EnableTCP  bool
	EnableUDP  bool
	Timeout    time.Duration
	TCPTargets []string // "host:port"
	UDPTargets []string // "host:port" of DNS servers
	DNSName    string
	DNSType    string // upper case
}

// Status is where the program shows how it is and may be told what to do.
type Status struct {
	Enable bool     // also when the file has an address and leaves out status.enable
	Listen string   // "host:port", or "unix:" with a path that is ready to open
	Token  Secret   // of calls that change something; empty = there are none
	Hosts  []string // names besides localhost that requests may have for this machine
}

// Relay limits flows. 0 means never.
type Relay struct {
	AnswerTimeout    time.Duration // silence after which a flow is reset that never got an answer
	IdleTimeout      time.Duration // silence after which a flow open both ways is reset
	HalfCloseTimeout time.Duration // the same once one half has ended
}

// Pool is how flows share HTTP/2 and HTTP/3 connections with a server.
type Pool struct {
	Streams     int // flows on each connection before another is opened
	Connections int // to spread flows and bulk over
}

// DNS is how host names of upstreams are resolved.
type DNS struct {
	Servers []netip.AddrPort // empty = the system's
}

// Metrics is where Prometheus finds the program.
type Metrics struct {
	Listen string // "host:port"; empty = nowhere
}

// HalfClose is what the end of one half of a flow looks like to a server.
type HalfClose string

// The ways to end one half.
const (
	HalfCloseFrame HalfClose = "close-frame" // a Close frame, at once
	HalfCloseDefer HalfClose = "defer"       // a Close frame, once the server has sent its own
)

// Upstream is one configured server.
type Upstream struct {
	Name       string  // unique
	Weight     float64 // more than 0
	TCP        URL     // tcp_wss; empty = no TCP
	UDP        URL     // udp_wss; empty = no UDP
	Cipher     string  // as in the file
	Secret     Secret
	SecretFile string // that holds Secret, ready to open; "" = none does
	Prefix     []byte // Shadowsocks salt prefix
	HalfClose  HalfClose
	Headers    map[string]Secret // by canonical name; values may be credentials
	TLS        TLS
}

// TLS is how the certificate of an upstream is checked.
type TLS struct {
	CAFile     string         // ready to open: relative paths were joined with the folder of the config file
	RootCAs    *x509.CertPool // content of CAFile; nil = the system's
	ServerName string         // "" = the host of the URL
	PinSHA256  [][sha256.Size]byte
}

// defaultListen is the SOCKS5 listener of a file that does not mention one.
const defaultListen = "127.0.0.1:1080"

// defaultStatus is where the status is once it is enabled.
const defaultStatus = "127.0.0.1:9101"

// Default is the configuration of a file without keys. It has no upstreams, so it is not valid yet.
func Default() Config {
	return Config{
		Listen:      Listen{SOCKS5: []string{defaultListen}},
		Log:         Log{Format: LogAuto, Level: slog.LevelInfo},
		DialTimeout: 10 * time.Second,
		MemoryLimit: MemoryAuto,
		TUN:         defaultTUN(),
		Selection: Selection{
			StickyTTL: time.Minute, Cooldown: 20 * time.Second, MinSwitch: 20 * time.Millisecond,
			Affinity:     AffinityNone,
			WarmStandbyN: 2, WarmStandbyInterval: 2 * time.Second,
			StandbyKeepalive: true, StandbyKeepaliveInterval: 15 * time.Second,
			StandbyKeepaliveProbeTimeout: 1200 * time.Millisecond,
		},
		Failover: Failover{Silence: time.Second, Replay: ReplaySafe, Deadline: 15 * time.Second},
		Health: Health{
			Interval: 5 * time.Second, Timeout: 3 * time.Second, FailThreshold: 2, SuccessThreshold: 1,
			MinInterval: time.Second, MaxInterval: 30 * time.Second, Jitter: 200 * time.Millisecond,
			BackoffFactor: 1.6, RTTScale: 0.25,
		},
		Probe: Probe{
			EnableTCP: true, EnableUDP: true, Timeout: 2 * time.Second,
			TCPTargets: []string{"example.com:80"}, UDPTargets: []string{"1.1.1.1:53"},
			DNSName: "example.com", DNSType: "A",
		},
		Status: Status{Listen: defaultStatus},
		Pool:   Pool{Streams: 32, Connections: 4},
		Relay:  Relay{AnswerTimeout: time.Minute, HalfCloseTimeout: 10 * time.Minute},
	}
}

// defaultUpstream is an entry of upstreams without keys.
func defaultUpstream() Upstream {
	return Upstream{Weight: 1, HalfClose: HalfCloseFrame}
}
