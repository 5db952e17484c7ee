package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxProblems bounds how many mistakes one file is told about. Nobody reads on after that many.
const maxProblems = 100

// Problem is one mistake in a file. No field quotes a value of the file.
type Problem struct {
	File       string
	Line       int // the first is 1; 0 = the file as a whole
	Column     int
	Key        string // upstreams[0].weight; "" = none in particular
	Message    string
	Suggestion string // what to write instead; may be empty
}

// String returns "config.yaml:12: upstreams[0].wieght: unknown key; did you mean weight?".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		b.WriteString("; " + p.Suggestion)
	}
	return b.String()
}

// Errors are all the mistakes of a file, in the order of its lines.
type Errors []Problem

var _ error = Errors(nil)

// Error returns one line per mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// ordered returns e sorted by place, and cut where nobody would read on.
func (e Errors) ordered() Errors {
	sorted := slices.Clone(e)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(sorted) <= maxProblems {
		return sorted
	}
	sorted = sorted[:maxProblems]
	last := sorted[maxProblems-1]
	return append(sorted, Problem{
		File: last.File, Line: last.Line, Column: last.Column,
		Message: fmt.Sprintf("more than %d mistakes; the rest is not shown", maxProblems),
	})
}

// whole is a mistake of the file as a whole.
func whole(file, message string) Errors {
	return Errors{{File: file, Message: message}}
}

// mistake is what a parser of one value says: a message, and what to write instead.
type mistake struct{ message, suggestion string }

func (m *mistake) Error() string { return m.message }

// wrong is a mistake without a suggestion.
func wrong(format string, args ...any) error {
	return &mistake{message: fmt.Sprintf(format, args...)}
}
