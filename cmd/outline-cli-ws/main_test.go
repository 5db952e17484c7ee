package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this program as a command of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"outline-cli-ws": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

func TestRunReturnsExitCodes(t *testing.T) {
	discard, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer discard.Close()
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"version", []string{"-version"}, exitOK},
		{"help", []string{"-h"}, exitOK},
		{"unknown flag", []string{"-frobnicate"}, exitUsage},
		{"stray argument", []string{"start"}, exitUsage},
		{"no file", []string{"-c", t.TempDir() + "/none.yaml"}, exitUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := run(tt.args, discard, discard); got != tt.want {
				t.Errorf("run(%q) = %d, want %d", tt.args, got, tt.want)
			}
		})
	}
}
