package app

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/outline-cli-ws/outline-cli-ws/internal/capture"
)

// DescribeCapture says what in this host's routing leads to a full tunnel, whoever put it there, and whether
// there is anything.
func DescribeCapture() (text string, there bool, err error) {
	s, err := capture.Status()
	if err != nil {
		return "", false, err
	}
	return describe(s), !s.Empty(), nil
}

// RemoveCapture removes what a process left that was killed.
func RemoveCapture(log *slog.Logger) (removed int, err error) { return capture.Clean(log) }

// describe is one line, and one more on what to do.
func describe(s capture.State) string {
	if s.Empty() {
		return "down: nothing leads this host's traffic to a tunnel"
	}
	var b strings.Builder
	switch {
	case s.Running:
		fmt.Fprintf(&b, "up: traffic goes to %s", s.Device)
	case s.Stays:
		b.WriteString("blocked: the kill switch of a process that has ended is in force")
	default:
		b.WriteString("left behind by a process that was killed, without effect")
	}
	fmt.Fprintf(&b, " (%d rules, %d routes, %d addresses", s.Rules, s.Routes, s.Addresses)
	if s.Guard {
		b.WriteString(", nftables table")
	}
	b.WriteString(")")
	if !s.Running {
		b.WriteString("\nstart the program again, or remove it with: outline-cli-ws tun down")
	}
	return b.String()
}
