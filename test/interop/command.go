package interop

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"
)

// commandTimeout bounds every command; all of them take a second or two.
const commandTimeout = 60 * time.Second

// Result is what a command did.
type Result struct {
	Output   []byte
	Messages string // stderr
	Code     int    // exit status
}

// Run runs a command to its end with input on stdin.
func Run(t *testing.T, input []byte, name string, args ...string) Result {
	t.Helper()
	return runFor(t, commandTimeout, input, name, args...)
}

// runFor is Run with another limit.
func runFor(t *testing.T, limit time.Duration, input []byte, name string, args ...string) Result {
	t.Helper()
	Require(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var output, messages bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &output, &messages
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s did not end within %v; it printed %d bytes and said: %s", cmd, limit,
			output.Len(), messages.String())
	}
	if err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			t.Fatalf("%s: %v", cmd, err)
		}
	}
	return Result{output.Bytes(), messages.String(), cmd.ProcessState.ExitCode()}
}

// MustRun is Run for a command that has to succeed. It returns what the command printed.
func MustRun(t *testing.T, input []byte, name string, args ...string) []byte {
	t.Helper()
	result := Run(t, input, name, args...)
	if result.Code != 0 {
		t.Fatalf("%s %q ended with status %d after %d bytes: %s", name, args, result.Code, len(result.Output),
			result.Messages)
	}
	return result.Output
}
