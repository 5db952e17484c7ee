package transport

import (
	"context"
	"net/netip"
)

type clientKey struct{}

// WithClient returns ctx for a flow of the client with that address.
func WithClient(ctx context.Context, client netip.Addr) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// Client returns the address of the client that a flow is for; the zero Addr when nobody said.
func Client(ctx context.Context) netip.Addr {
	client, _ := ctx.Value(clientKey{}).(netip.Addr)
	return client
}
