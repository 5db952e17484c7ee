package config

import (
	"bytes"
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Where a syntax error is shown: where the parser gave up, or where the thing began that it did not
// understand.
type spot int

const (
	atEnd spot = iota
	atStart
)

// sentences say in plain words what the YAML parser means, by what its message contains; the first that fits
// counts. Its own words may quote the file, as in "unknown anchor 's3cr3t' referenced", so none of them is
// passed on.
var sentences = []struct {
	contains string
	spot     spot
	say      string
}{
	{"tab", atEnd, tabSentence},
	{"cannot start any token", atEnd, "a value cannot start with this character; put the value in quotes"},
	{
		"mapping values are not allowed", atEnd,
		"a colon is not allowed here; is the line above complete, and the value in quotes?",
	},
	{"could not find expected ':'", atStart, `want "key: value"; is there a space after the colon?`},
	{"expected ',' or ']'", atStart, "the list that starts with [ here is not closed"},
	{"expected ',' or '}'", atStart, "the map that starts with { here is not closed"},
	{"node content", atEnd, "a [ or { above is not closed, or a value is missing here"},
	{"unexpected end of stream", atStart, "the quote that starts here is not closed"},
	{"escape", atEnd, `an unknown escape after \; single quotes take every character as it is`},
	{"hexadecimal", atEnd, `an unknown escape after \; single quotes take every character as it is`},
	{"unknown anchor", atEnd, "* names an anchor that is not there; a value that starts with * needs quotes"},
	{"alphabetic or numeric", atEnd, "a value that starts with & or * needs quotes"},
	{"max depth", atEnd, "is nested too deeply"},
	{"expected key", atEnd, "does not fit the lines above; check the indentation and the quotes"},
	{"expected '-'", atEnd, "does not fit the lines above; check the indentation and the quotes"},
	{"document start", atEnd, "does not fit the lines above; check the indentation and the quotes"},
	{"tag", atEnd, "a value that starts with ! needs quotes"},
	{"%", atEnd, "a line cannot start with %; put the value in quotes"},
	{"directive", atEnd, "a line cannot start with %; put the value in quotes"},
	{"", atEnd, "is not valid YAML; check the indentation and the quotes"},
}

const tabSentence = "a tab in the indentation; YAML wants spaces"

// syntaxError turns what the YAML parser says into a Problem.
func syntaxError(name string, data []byte, err error) Errors {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return whole(name, "is not valid YAML")
	}
	p := Problem{File: name, Line: e.Mark.Line, Column: e.Mark.Column, Message: tabSentence}
	if tabIndented(data, e.Mark.Line) {
		return Errors{p}
	}
	for _, s := range sentences {
		if !strings.Contains(e.Message, s.contains) && !strings.Contains(e.ContextMsg, s.contains) {
			continue
		}
		p.Message = s.say
		if s.spot == atStart && e.ContextMark.Line > 0 {
			p.Line, p.Column = e.ContextMark.Line, e.ContextMark.Column
		}
		break
	}
	return Errors{p}
}

// tabIndented reports whether a tab is in the indentation of a line, of which the first is 1.
func tabIndented(data []byte, line int) bool {
	for range line - 1 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	rest := bytes.TrimLeft(data, " ")
	return bytes.HasPrefix(rest, []byte("\t"))
}
