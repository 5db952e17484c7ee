package capture

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
)

const (
	// DefaultMark is the SO_MARK of our own sockets when the user has chosen none.
	DefaultMark = 20311
	// maxName is the longest name of a device: IFNAMSIZ without its zero.
	maxName = 15
)

// DefaultAddr6 is the device's IPv6 address. It is a unique local one, which RFC 6724 puts behind IPv4 when a
// name has both.
func DefaultAddr6() netip.Prefix { return netip.MustParsePrefix("fd4f:5757:79::1/126") }

// addr4Candidates are tried in this order: the first that nobody on this host uses is taken.
func addr4Candidates() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("172.19.0.1/30"),
		netip.MustParsePrefix("172.30.255.1/30"),
		netip.MustParsePrefix("10.255.255.1/30"),
		netip.MustParsePrefix("192.168.255.1/30"),
		netip.MustParsePrefix("198.18.255.1/30"),
	}
}

// ErrRunning says that another live process leads this host's traffic to its device.
var ErrRunning = errors.New("another process has a full tunnel on this host")

// Options say what is captured. They are not changed once they are handed over.
type Options struct {
	Device string // the TUN device; it is there

	// The device's own addresses. The zero Addr4 is the first of a few that is free, the zero Addr6
	// DefaultAddr6.
	Addr4, Addr6 netip.Prefix

	Mark        uint32         // SO_MARK of our own sockets, which go past the tunnel; zero is DefaultMark
	Exclude     []netip.Prefix // destinations that go past it
	ExcludeUIDs []UIDRange     // users whose traffic does

	DNS        bool // port 53 goes into the tunnel, even where the server is on the LAN
	Strict     bool // sockets that are bound to another device or address are refused
	KillSwitch bool // implies Strict, which stays in force after a crash
	Forward    bool // what this host forwards for others is captured too

	Log *slog.Logger // nil discards
}

// UIDRange is a range of user ids, both ends included.
type UIDRange struct{ First, Last uint32 }

// State is what of a capture is in the kernel, whoever put it there.
type State struct {
	Device  string // that traffic is led to; empty when to none
	Running bool   // a live process has it
	Guard   bool   // the table of nftables is there
	Stays   bool   // and it is a kill switch, which outlives its process

	Rules, Routes, Addresses int // that carry our protocol number
}

// Empty reports that nothing is there.
func (s State) Empty() bool { return !s.Guard && s.Rules+s.Routes+s.Addresses == 0 }

// check finds what no kernel would accept, or what would mean something else than it says.
func (o Options) check() error {
	var errs []error
	if o.Device == "" || len(o.Device) > maxName {
		errs = append(errs, fmt.Errorf("device %q: want a name of 1 to %d characters", o.Device, maxName))
	}
	if o.Addr4.IsValid() && !o.Addr4.Addr().Is4() {
		errs = append(errs, fmt.Errorf("address %v: want an IPv4 one", o.Addr4))
	}
	if o.Addr6.IsValid() && (!o.Addr6.Addr().Is6() || o.Addr6.Addr().Is4In6()) {
		errs = append(errs, fmt.Errorf("address %v: want an IPv6 one", o.Addr6))
	}
	return errors.Join(errors.Join(errs...), o.checkExcluded())
}

func (o Options) checkExcluded() error {
	var errs []error
	for _, p := range o.Exclude {
		if !p.IsValid() || p.Bits() == 0 {
			errs = append(errs, fmt.Errorf("excluded network %v: would leave nothing for the tunnel", p))
		}
	}
	for _, r := range o.ExcludeUIDs {
		if r.First > r.Last {
			errs = append(errs, fmt.Errorf("excluded users %d-%d: wrong way round", r.First, r.Last))
		}
	}
	return errors.Join(errs...)
}

// settled fills in what is left out and brings the rest into one form, so that equal options make equal
// plans.
func (o Options) settled() Options {
	o.Mark = cmp.Or(o.Mark, DefaultMark)
	o.Strict = o.Strict || o.KillSwitch
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	exclude := make([]netip.Prefix, 0, len(o.Exclude))
	for _, p := range o.Exclude {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		exclude = append(exclude, p.Masked())
	}
	slices.SortFunc(exclude, netip.Prefix.Compare)
	o.Exclude = slices.Compact(exclude)
	return o
}

// freeAddr4 picks the device's IPv4 address, given those of all other devices: containers' bridges like the
// same networks.
func freeAddr4(taken []netip.Prefix) (netip.Prefix, error) {
	for _, candidate := range addr4Candidates() {
		if !slices.ContainsFunc(taken, candidate.Overlaps) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, errors.New("every address that the device could have is in use: choose one")
}
