// Package balancer is a dialer that picks: it opens every flow on the best of several upstreams, and saves a
// flow whose upstream fails before the first byte of an answer.
//
// Three things work together. A [group] knows the paths of one protocol and which of them is the current one;
// the choice is a pure function of health records (choose.go). Opening a connection races paths, each with a
// head start before the next (open.go). A [stream] keeps what its client sends until an answer comes, and
// gives it to another path when the first one fails or stays silent (stream.go, rival.go); what may be sent
// twice is a question of its own (replay.go).
package balancer
