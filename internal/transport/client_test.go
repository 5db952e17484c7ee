package transport_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestClientTravelsWithTheFlow(t *testing.T) {
	if got := transport.Client(context.Background()); got.IsValid() {
		t.Errorf("Client(background) = %v, want none", got)
	}
	want := netip.MustParseAddr("2001:db8::1")
	if got := transport.Client(transport.WithClient(context.Background(), want)); got != want {
		t.Errorf("Client() = %v, want %v", got, want)
	}
}
