package deploy

import (
	"slices"
	"strings"
	"testing"
)

func TestPageIsDoneFromTopToBottom(t *testing.T) {
	pieces := []Piece{{Shell, 3, "git clone <repo>"}, {YAML, 7, "a: 1"}, {Shell, 12, "go build"}}
	p := &Page{name: "x.md", rest: pieces}
	p.Fill("<repo>", "/repository")
	if _, err := p.take("go build"); err == nil || !strings.HasPrefix(err.Error(), "x.md:3 has\ngit clone") {
		t.Errorf("a command in the place of the one before it: %v", err)
	}
	if got, err := p.take("git clone <repo>"); err != nil || got != "git clone /repository" {
		t.Errorf("take = %q, %v, want it filled in", got, err)
	}
	if left := p.left(); !slices.Equal(left, pieces[2:]) {
		t.Errorf("left = %v, want %v", left, pieces[2:])
	}
	if got, err := p.take("go build"); err != nil || got != "go build" || len(p.left()) > 0 {
		t.Errorf("take = %q, %v, and %v are left, want the last command", got, err, p.left())
	}
	if _, err := p.take("go vet"); err == nil || !strings.HasPrefix(err.Error(), "x.md ends") {
		t.Errorf("a command that the page does not have: %v", err)
	}
}
