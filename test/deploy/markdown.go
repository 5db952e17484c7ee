package deploy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Kind is what a piece of a page is for.
type Kind int

const (
	// Shell is what the reader types: a block marked sh, or code within a line that begins with a program.
	Shell Kind = iota
	// YAML is a block that shows a file.
	YAML
)

// Piece is a command or a file of a page.
type Piece struct {
	Kind Kind
	Line int
	Text string
}

// programs are those that the pages may know. Code within a line that begins with another word is no command;
// ip is not among them, since `ip rule` is a thing.
var programs = []string{
	"./outline-cli-ws", ".ci/run", "apt", "apt-get", "brew", "cat", "cd", "chmod", "chown", "cp", "curl",
	"dig", "docker", "echo", "env", "export", "git", "go", "golangci-lint", "grep", "install",
	"iptables", "journalctl", "kill", "kubectl", "ln", "ls", "make", "mkdir", "mv", "nc", "nft", "openssl",
	"outline-cli-ws", "pkill", "promtool", "rm", "scp", "setcap", "ssh", "sudo", "sysctl", "systemctl",
	"systemd-analyze", "systemd-run", "systemd-sysusers", "tail", "tar", "touch", "wget",
}

// isCommand says whether code within a line is something to type: `go test ./...` is, `go` is a word.
var isCommand = regexp.MustCompile(`^(\.ci/run|(\w+=\S* )*(` + strings.Join(quoted(programs), "|") + `) .*)$`)

func quoted(words []string) (patterns []string) {
	for _, word := range words {
		patterns = append(patterns, regexp.QuoteMeta(word))
	}
	return patterns
}

// Pieces returns the commands and files of a page from top to bottom. A block has to say what it is, so that
// no command hides in one that looks like a picture.
func Pieces(markdown string) (pieces []Piece, err error) {
	var paragraph []string
	lines := strings.Split(markdown, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		if fence || strings.TrimSpace(line) == "" || strings.HasPrefix(line, "|") {
			pieces = append(pieces, spans(paragraph, i-len(paragraph)+1)...)
			paragraph = nil
		}
		if !fence {
			if strings.TrimSpace(line) != "" {
				paragraph = append(paragraph, line)
			}
			continue
		}
		end := slices.IndexFunc(lines[i+1:], func(s string) bool { return strings.TrimSpace(s) == "```" })
		if end < 0 {
			return nil, fmt.Errorf("line %d: the block has no end", i+1)
		}
		block := Piece{Line: i + 2, Text: strings.Join(lines[i+1:i+1+end], "\n")}
		switch language {
		case "sh":
			pieces = append(pieces, block)
		case "yaml":
			block.Kind = YAML
			pieces = append(pieces, block)
		case "text":
		default:
			return nil, fmt.Errorf("line %d: a block is marked %q, want sh, yaml or text", i+1, language)
		}
		i += end + 1
	}
	return append(pieces, spans(paragraph, len(lines)-len(paragraph)+1)...), nil
}

// spans returns the commands in the code within the lines of a paragraph, whose first one has that number.
func spans(paragraph []string, line int) (pieces []Piece) {
	text := strings.Join(paragraph, "\n")
	for at := 0; ; {
		open := strings.IndexByte(text[at:], '`')
		if open < 0 {
			return pieces
		}
		open += at
		ticks := len(text[open:]) - len(strings.TrimLeft(text[open:], "`"))
		at = open + ticks
		length := closing(text[at:], ticks)
		if length < 0 {
			continue
		}
		code := strings.Join(strings.Fields(text[at:at+length]), " ")
		if isCommand.MatchString(code) {
			pieces = append(pieces, Piece{Line: line + strings.Count(text[:open], "\n"), Text: code})
		}
		at += length + ticks
	}
}

// closing returns where so many ticks are, and not more: the code before them may have others.
func closing(text string, ticks int) int {
	for at := 0; at < len(text); {
		start := strings.IndexByte(text[at:], '`')
		if start < 0 {
			return -1
		}
		start += at
		n := len(text[start:]) - len(strings.TrimLeft(text[start:], "`"))
		if n == ticks {
			return start
		}
		at = start + n
	}
	return -1
}
