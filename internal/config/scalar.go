package config

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// errType says that a text is not of the wanted type at all.
var errType = errors.New("wrong type")

// scalar is one value without keys below it.
type scalar[T comparable] struct {
	into *T
	want string // completes "want "
	// parse returns errType, or a *mistake, or an error whose text quotes no value.
	parse func(text string) (T, error)
}

func (s scalar[T]) decode(d *decoder, at place, n *yaml.Node) {
	v, ok := s.read(d, at, n)
	if !ok {
		return
	}
	*s.into = v
}

// read returns the value of n, or reports why there is none.
func (s scalar[T]) read(d *decoder, at place, n *yaml.Node) (v T, ok bool) {
	text, ok := d.text(at, n, s.want)
	if !ok {
		return v, false
	}
	v, err := s.parse(text)
	m, known := errors.AsType[*mistake](err)
	switch {
	case err == nil:
		return v, true
	case errors.Is(err, errType):
		d.problem(at, "got %s, want %s", got(n), s.want)
	case known:
		d.mistake(at, m)
	default:
		d.problem(at, "%v", err)
	}
	return v, false
}

// text returns the text of a scalar, whatever type YAML makes of it: an unquoted 12345 is a good password.
func (d *decoder) text(at place, n *yaml.Node, want string) (text string, ok bool) {
	switch {
	case n.Kind != yaml.ScalarNode || isNull(n):
		d.problem(at, "got %s, want %s", got(n), want)
	case !plainTag(n):
		d.problem(at, "starts with a YAML tag, want %s; a value that starts with ! needs quotes", want)
	case len(n.Value) > maxText:
		d.problem(at, "is longer than %d bytes", maxText)
	default:
		return n.Value, true
	}
	return "", false
}

// plainTag reports whether the type of n is one that YAML gives to unmarked values.
func plainTag(n *yaml.Node) bool {
	switch n.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return true
	}
	return false
}

// got names the type of n for a message. The value itself is never quoted: it may be a secret in the wrong
// place.
func got(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "a number"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Value == "":
		return "empty text"
	}
	return "text"
}

// oneOrMany is a list of values; a single one may stand without the list, and an empty text is an empty list.
type oneOrMany[T comparable] struct {
	into  *[]T
	want  string // of one value
	parse func(text string) (T, error)
}

func (o oneOrMany[T]) decode(d *decoder, at place, n *yaml.Node) {
	one := scalar[T]{want: o.want, parse: o.parse}
	values := []T{}
	switch {
	case n.Kind == yaml.SequenceNode:
		values = o.entries(d, at, n.Content)
	case n.Kind != yaml.ScalarNode || n.Value != "":
		v, ok := one.read(d, at, n)
		if !ok {
			return
		}
		values = append(values, v)
	}
	*o.into = values
}

// entries reads a list. The place of every good entry is kept under its index in what is returned.
func (o oneOrMany[T]) entries(d *decoder, at place, items []*yaml.Node) []T {
	one := scalar[T]{want: o.want, parse: o.parse}
	values := []T{}
	for i, item := range items {
		here := at.index(i, item)
		if !d.spend(here) {
			break
		}
		v, ok := one.read(d, here, target(item))
		if !ok {
			d.failed[at.path] = true
			continue
		}
		d.places[at.index(len(values), item).path] = here
		values = append(values, v)
	}
	return values
}

func text(into *string) field {
	return scalar[string]{into, "text", func(s string) (string, error) { return s, nil }}
}

func boolean(into *bool) field { return scalar[bool]{into, "true or false", parseBoolean} }

func parseBoolean(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "y":
		return true, nil
	case "false", "no", "off", "n":
		return false, nil
	}
	return false, errType
}

// integer is a whole number from least to most.
func integer(into *int, least, most int) field {
	return scalar[int]{into, "a whole number", func(s string) (int, error) {
		n, err := strconv.ParseInt(s, 0, 64)
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange):
			return 0, errType
		case err == nil && int64(least) <= n && n <= int64(most):
			return int(n), nil
		case most == math.MaxInt32:
			return 0, wrong("must be %d or more", least)
		}
		return 0, wrong("must be between %d and %d", least, most)
	}}
}

// count is a whole number of at least least.
func count(into *int, least int) field { return integer(into, least, math.MaxInt32) }

// mark is a number for SO_MARK, decimal or with 0x.
func mark(into *uint32) field {
	return scalar[uint32]{into, "a number like 123 or 0x7b", func(s string) (uint32, error) {
		n, err := strconv.ParseInt(s, 0, 64)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return 0, errType
		case err != nil || n < 0 || n > math.MaxUint32:
			return 0, wrong("must be between 0 and %d", uint32(math.MaxUint32))
		}
		return uint32(n), nil
	}}
}

func atLeast(least float64) func(float64) bool {
	return func(n float64) bool { return n >= least }
}

// number is a finite number for which ok holds; must completes "must be ".
func number(into *float64, ok func(float64) bool, must string) field {
	return scalar[float64]{into, "a number", func(s string) (float64, error) {
		switch strings.ToLower(strings.TrimLeft(s, "+-")) {
		case ".inf", ".nan": // as YAML spells them
			return 0, wrong("must be %s", must)
		}
		n, err := strconv.ParseFloat(s, 64)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return 0, errType
		case err != nil || math.IsInf(n, 0) || math.IsNaN(n) || !ok(n):
			return 0, wrong("must be %s", must)
		}
		return n, nil
	}}
}

// duration is a time of zero or more, in Go's syntax.
func duration(into *time.Duration) field {
	return scalar[time.Duration]{into, "a duration like 5s", parseDuration}
}

// timeout is a duration of more than zero.
func timeout(into *time.Duration) field {
	return scalar[time.Duration]{into, "a duration like 5s", func(s string) (time.Duration, error) {
		v, err := parseDuration(s)
		if err == nil && v == 0 {
			return 0, wrong("must be more than 0")
		}
		return v, err
	}}
}

func parseDuration(s string) (time.Duration, error) {
	v, err := time.ParseDuration(s)
	if _, bare := strconv.ParseFloat(s, 64); err != nil && bare == nil {
		return 0, &mistake{"got a number, want a duration like 5s", "add a unit: ms, s, m or h"}
	}
	switch {
	case err != nil:
		return 0, errType
	case v < 0:
		return 0, wrong("must not be negative")
	}
	return v, nil
}

// choice is one of a few words.
func choice[T ~string](into *T, options ...T) scalar[T] {
	words := make([]string, len(options))
	for i, o := range options {
		words[i] = string(o)
	}
	want := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	return scalar[T]{into, want, func(s string) (T, error) {
		if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, s) }); i >= 0 {
			return options[i], nil
		}
		m := &mistake{message: "want " + want}
		if near := nearest(s, words); near != "" {
			m.suggestion = "did you mean " + near + "?"
		}
		return "", m
	}}
}

// level is the severity from which on lines are logged.
func level(into *slog.Level) field {
	word := choice(new(string), "debug", "info", "warn", "error")
	return scalar[slog.Level]{into, word.want, func(s string) (level slog.Level, err error) {
		name, err := word.parse(s)
		if err != nil {
			return 0, err
		}
		return level, level.UnmarshalText([]byte(name))
	}}
}
