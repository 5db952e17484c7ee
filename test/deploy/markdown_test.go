package deploy

import (
	"slices"
	"strings"
	"testing"
)

func TestPieces(t *testing.T) {
	for _, test := range []struct {
		name, page string
		want       []Piece
	}{
		{"nothing", "Words, `code` and `go`.\n", nil},
		{"block", "Do\n\n```sh\ngo build\ncd x\n```\n", []Piece{{Shell, 4, "go build\ncd x"}}},
		{"file", "```yaml\na: 1\n```", []Piece{{YAML, 2, "a: 1"}}},
		{"picture", "```text\ngo build\n```\n", nil},
		{"code in a line", "One\n\nTwo\nthen `make x`.", []Piece{{Shell, 4, "make x"}}},
		{"over two lines", "Do `cp x\n  y`,\n`go y`", []Piece{{Shell, 1, "cp x y"}, {Shell, 3, "go y"}}},
		{
			"order", "`go a`\n```sh\nb\n```\n`go c`",
			[]Piece{{Shell, 1, "go a"}, {Shell, 3, "b"}, {Shell, 5, "go c"}},
		},
		{"rows of a table", "| ` | `go a` |\n| x | `go b` |", []Piece{{Shell, 2, "go b"}}},
		{
			"ticks in code", "`` ` `` and ``make `x` `` and `go b`",
			[]Piece{{Shell, 1, "make `x`"}, {Shell, 1, "go b"}},
		},
		{"variables", "`A=1 B=2 go c`, `A=1`", []Piece{{Shell, 1, "A=1 B=2 go c"}}},
		{"a program alone", "`.ci/run`, `docker`", []Piece{{Shell, 1, ".ci/run"}}},
		{"other words", "`upstream down`, `golang x`, `make:`", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Pieces(test.page)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("Pieces(%q) = %v, %v, want %v", test.page, got, err, test.want)
			}
		})
	}
}

func TestPiecesMustSayWhatTheyAre(t *testing.T) {
	for page, want := range map[string]string{
		"x\n```\ngo build\n```\n":     "line 2",
		"```bash\ngo build\n```\n":    `"bash"`,
		"```sh\ngo build\n":           "no end",
		"- item\n\n  ```\n  x\n  ```": "line 3",
	} {
		if got, err := Pieces(page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Pieces(%q) = %v, %v, want an error with %s", page, got, err, want)
		}
	}
}
