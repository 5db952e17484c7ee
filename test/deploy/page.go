package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Page is a page of the documentation, of which a test does everything that it says, from top to bottom.
type Page struct {
	name   string
	reader *Reader
	rest   []Piece
	filled []string // what stands for something that the reader has, and what that is
}

// Open opens a page at its top.
func (r *Reader) Open(t *testing.T, name string) *Page {
	t.Helper()
	pieces, err := Pieces(readPage(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &Page{name: name, reader: r, rest: pieces}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Fill has value stand in commands where the page has a word like NAME.
func (p *Page) Fill(word, value string) { p.filled = append(p.filled, word, value) }

// File is the file that the page shows next.
func (p *Page) File(t *testing.T) string {
	t.Helper()
	if len(p.rest) == 0 || p.rest[0].Kind != YAML {
		t.Fatalf("%s shows no file where the test wants one: %v", p.name, p.rest)
	}
	file := p.rest[0].Text
	p.rest = p.rest[1:]
	return file + "\n"
}

// Do runs the next commands of the page, which must be these, to their end. It returns what they say.
func (p *Page) Do(t *testing.T, commands string) string {
	t.Helper()
	return p.reader.Type(t, p.next(t, commands))
}

// Stay starts the next commands of the page, which must be these.
func (p *Page) Stay(t *testing.T, commands string) *Job {
	t.Helper()
	return p.reader.Start(t, p.next(t, commands))
}

// Skip passes the next command of the page, which must be this one, for a reason.
func (p *Page) Skip(t *testing.T, command, reason string) {
	t.Helper()
	t.Logf("%s: not run: %s: %s", p.name, p.next(t, command), reason)
}

func (p *Page) next(t *testing.T, commands string) string {
	t.Helper()
	filled, err := p.take(commands)
	if err != nil {
		t.Fatal(err)
	}
	return filled
}

// take wants the next commands of the page to be these, and fills in what they leave to the reader.
func (p *Page) take(commands string) (filled string, err error) {
	left := p.left()
	if len(left) == 0 {
		return "", fmt.Errorf("%s ends, and the test runs\n%s", p.name, commands)
	}
	if next := left[0]; next.Text != commands {
		return "", fmt.Errorf("%s:%d has\n%s\nand the test runs\n%s", p.name, next.Line, next.Text, commands)
	}
	for p.rest[0].Kind != Shell {
		p.rest = p.rest[1:] // a file to look at
	}
	p.rest = p.rest[1:]
	return strings.NewReplacer(p.filled...).Replace(commands), nil
}

// left are the commands that were not run yet.
func (p *Page) left() (commands []Piece) {
	for _, piece := range p.rest {
		if piece.Kind == Shell {
			commands = append(commands, piece)
		}
	}
	return commands
}

// Close wants no command to be left that nobody has run.
func (p *Page) Close(t *testing.T) {
	t.Helper()
	for _, piece := range p.left() {
		t.Errorf("%s:%d: no test runs\n%s", p.name, piece.Line, piece.Text)
	}
}

// commands are those of the first block under a heading of docs/service.md that has text in it.
func commands(t *testing.T, heading, text string) string {
	t.Helper()
	_, section, found := strings.Cut(readPage(t, "docs/service.md"), "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/service.md has no %s", heading)
	}
	pieces, err := Pieces(section)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range pieces {
		if strings.Contains(piece.Text, "\n") && strings.Contains(piece.Text, text) {
			return piece.Text + "\n"
		}
	}
	t.Fatalf("docs/service.md has no commands with %q under %s", text, heading)
	return ""
}
