package upstream

// Rest has flows and probes fail at once with transport.ErrNoNetwork until Renew, even where they could be
// opened on a shared connection: this host has no network, and they would only hang. What is ready is closed.
// Flows that are open stay so.
func (u *Upstream) Rest() {
	u.resting.Store(true)
	if u.streams != nil {
		u.streams.standby.Rest()
	}
	if u.packets != nil {
		u.packets.standby.Rest()
	}
}

// Renew ends the rest and replaces what is ready: the network of this host has changed.
func (u *Upstream) Renew() {
	u.resting.Store(false)
	if u.streams != nil {
		u.streams.standby.Renew()
	}
	if u.packets != nil {
		u.packets.standby.Renew()
	}
}
