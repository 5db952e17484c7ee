package app

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
)

// LoadConfig reads the file with everything checked that its meaning depends on.
func LoadConfig(path string) (*config.Config, error) {
	return config.Load(path, config.Checks{
		URL: func(raw string) error {
			_, err := carrier.ParseTarget(raw)
			return err
		},
		Cipher: func(name string) error {
			_, err := shadowsocks.ParseCipher(name)
			return err
		},
		Prefix: shadowsocks.CheckPrefix,
	})
}

// build makes the server of a configuration, and names what to close once the server is shut down. It opens
// nothing.
func build(c *config.Config, log *slog.Logger) (*socks5.Server, []io.Closer, error) {
	factory := &upstreamFactory{
		config:  c,
		sockets: dialer.New(dialer.Options{Mark: c.Mark, Servers: c.DNS.Servers, Logger: log}),
		budget:  h2.NewBudget(windowBudget),
		log:     log,
	}
	members, err := buildMembers(factory)
	if err != nil {
		return nil, nil, err
	}
	picker := balancer.NewOrdered(members, c.Selection.Cooldown, log)
	server := &socks5.Server{
		Stream:       picker,
		UDPAdvertise: c.Listen.UDPAdvertise,
		Limits: relay.Limits{
			Answer:   c.Relay.AnswerTimeout,
			Idle:     c.Relay.IdleTimeout,
			HalfOpen: c.Relay.HalfCloseTimeout,
		},
		Logger:   log,
		Observer: dropLog{log},
	}
	if picker.CarriesPackets() {
		server.Packet = picker
	}
	for _, u := range c.Listen.SOCKS5Users {
		if err := server.Users.Add(u.Username, u.Password.Reveal()); err != nil {
			return nil, nil, err
		}
	}
	return server, factory.closers, nil
}

// buildMembers makes the upstreams.
func buildMembers(f *upstreamFactory) ([]balancer.Member, error) {
	var members []balancer.Member
	for _, entry := range f.config.Upstreams {
		up, err := f.build(entry)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", entry.Name, err)
		}
		m := balancer.Member{Name: entry.Name}
		if up.CarriesStreams() {
			m.Stream = up
		}
		if up.CarriesPackets() {
			m.Packet = up
		}
		members = append(members, m)
	}
	return members, nil
}

// dropLog says which datagrams of clients were not relayed.
type dropLog struct{ log *slog.Logger }

func (dropLog) FlowOpened(string) {}
func (dropLog) FlowClosed(string) {}

func (d dropLog) PacketDropped(reason string) {
	d.log.Debug("datagram of a client dropped", "inbound", "socks5", "reason", reason)
}
