package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestDemoWorks(t *testing.T) {
	defer goleak.VerifyNone(t)
	var out bytes.Buffer
	if err := run(t.Context(), &out, leave); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"TCP  ok", "UDP  ok", "It works", "192.0.2.1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output without %q:\n%s", want, out.String())
		}
	}
}
