package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/outline-cli-ws/outline-cli-ws/internal/app"
)

const tunUsage = `outline-cli-ws tun shows and removes what the full tunnel has put into this host's routing.

Usage: outline-cli-ws tun status
       outline-cli-ws tun down      as root, after a crash with tun.kill_switch
`

// runTun shows or removes what leads this host's traffic to the device. The exit status of status is 0 when
// something does, 1 when nothing does.
func runTun(args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprint(stderr, tunUsage)
		return exitUsage
	}
	switch args[0] {
	case "status":
		return tunStatus(stdout, stderr)
	case "down":
		return tunDown(stdout, stderr)
	case "-h", "-help", "--help":
		fmt.Fprint(stderr, tunUsage)
		return exitOK
	}
	fmt.Fprintf(stderr, "unknown command %q\n%s", args[0], tunUsage)
	return exitUsage
}

func tunStatus(stdout, stderr io.Writer) int {
	text, there, err := app.DescribeCapture()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	fmt.Fprintln(stdout, text)
	if !there {
		return exitFailed
	}
	return exitOK
}

func tunDown(stdout, stderr io.Writer) int {
	removed, err := app.RemoveCapture(slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%d rules, routes and tables removed\n", removed)
	return exitOK
}
