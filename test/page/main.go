// Command page opens the status page in headless Chromium, uses it as people do, by mouse and by keyboard, on
// a phone and on a desk, attacks it from another origin, and keeps screenshots.
//
//	go run ./test/page [-out artefacts/page]
//
// The page is served twice: by the package that the program uses, in front of a program that is played, so
// that every state can be had at once, and by the program itself, in front of servers that are killed.
//
// It needs Node.js, Chromium and what test/page/setup.sh installs. Without them its exit status is 75 and it
// says what is missing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/status"
)

const (
	folder = "test/page"
	// exitSkipped is what .ci/run takes for a step that could not do its work and said why.
	exitSkipped = 75
	// runTime bounds everything.
	runTime = 3 * time.Minute
)

func main() {
	out := flag.String("out", "artefacts/page", "folder for the screenshots")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	chromium, err := find()
	if err != nil {
		fmt.Fprintln(os.Stderr, "skipped:", err)
		os.Exit(exitSkipped)
	}
	if err := run(ctx, chromium, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// find returns the path of Chromium, or what is missing.
func find() (chromium string, err error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("no Node.js; test/page/setup.sh installs it")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules/playwright-core")); err != nil {
		return "", errors.New("no playwright-core; test/page/setup.sh installs it")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium; test/page/setup.sh installs it")
}

// places is what the script gets to know.
type places struct {
	Chromium string `json:"chromium"`
	Status   string `json:"status"` // address of the page under test
	Control  string `json:"control"`
	Program  string `json:"program"` // of the page of the real program
	Evil     string `json:"evil"`    // of a page that means no good
	Token    string `json:"token"`
	Out      string `json:"out"`
}

// run serves everything and has the script look at it.
func run(ctx context.Context, chromium, out string) error {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	real, err := startProgram(ctx)
	if err != nil {
		return err
	}
	defer real.close()
	w := newWorld(time.Now())
	control := w.control()
	control.HandleFunc("POST /kill/{name}", real.kill)
	at := places{Chromium: chromium, Token: token, Out: out, Program: real.Status}
	page := status.Handler(status.Options{Source: w, Control: w, Token: token})
	var servers sync.WaitGroup
	serving, end := context.WithCancel(ctx)
	defer servers.Wait()
	defer end()
	for place, h := range map[*string]http.Handler{
		&at.Status: page, &at.Control: control, &at.Evil: http.HandlerFunc(evil),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*place = l.Addr().String()
		servers.Go(func() { _ = status.Serve(serving, l, h) })
	}
	described, err := json.Marshal(at)
	if err != nil {
		return err
	}
	script := exec.CommandContext(ctx, "node", filepath.Join(folder, "page.mjs"), string(described))
	script.Stdout, script.Stderr = os.Stdout, os.Stderr
	script.WaitDelay = 5 * time.Second
	if err := script.Run(); err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	return nil
}

// evil is a page that has nothing of its own to show; the script makes it do things.
func evil(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprintln(w, "<!doctype html><title>evil</title><h1>free ringtones</h1>")
}
