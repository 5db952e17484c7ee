// Package balancer is a dialer that picks: it opens every flow on one of several upstreams.
package balancer
