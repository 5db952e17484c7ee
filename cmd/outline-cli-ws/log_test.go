//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

func TestWarnOfReaders(t *testing.T) {
	folder := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := &config.Config{Upstreams: []config.Upstream{
		{Name: "in the file"},
		{Name: "mine", SecretFile: file("mine", 0o600)},
		{Name: "everybody's", SecretFile: file("open", 0o644)},
	}}
	var text bytes.Buffer
	warnOfReaders(file("config.yaml", 0o640), c, slog.New(slog.NewTextHandler(&text, nil)))
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `chmod 600 `+folder+`/config.yaml`) ||
		!strings.Contains(lines[1], `upstream=everybody's fix="chmod 600 `+folder+`/open"`) {
		t.Errorf("warnings:\n%s", text.String())
	}
}
