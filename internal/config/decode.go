package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	// maxValues bounds how many keys and list entries are read, so that aliases of aliases cannot multiply
	// without end.
	maxValues = 100_000
	// maxFound bounds how many mistakes are collected; fewer are shown.
	maxFound = 10 * maxProblems
	// maxText bounds one value. URLs and header values stay below it everywhere.
	maxText = 4096
)

// field is a place of the schema. decode reads n, which is neither null nor an alias, or reports why it
// cannot.
type field interface {
	decode(d *decoder, at place, n *yaml.Node)
}

// place is where a value stands: its path, and the node whose position the user is told.
type place struct {
	path string
	node *yaml.Node
}

// key is the place of a key of the map at p.
func (p place) key(name string, n *yaml.Node) place {
	if p.path == "" {
		return place{name, n}
	}
	return place{p.path + "." + name, n}
}

// index is the place of an entry of the list at p.
func (p place) index(i int, n *yaml.Node) place {
	return place{p.path + "[" + strconv.Itoa(i) + "]", n}
}

// decoder walks the nodes of one file along the schema, fills a Config and collects what is wrong.
type decoder struct {
	file   string
	checks Checks
	schema section

	places   map[string]place  // of every key that is present and not null, by path
	cas      map[string]caFile // by path on disk
	values   int               // read so far
	merging  []*yaml.Node      // maps that are being merged, outermost first
	problems Errors            // in the order they were found
	reported map[Problem]bool  // what problems holds, without the indices of keys
	failed   map[string]bool   // paths that have a problem of their own
}

// problem reports a mistake.
func (d *decoder) problem(at place, format string, args ...any) {
	d.mistake(at, &mistake{message: fmt.Sprintf(format, args...)})
}

// mistake reports m. A mistake in shared settings is reported once, not for every place that shares them.
func (d *decoder) mistake(at place, m *mistake) {
	d.failed[at.path] = true
	p := Problem{
		File: d.file, Line: at.node.Line, Column: at.node.Column, Key: withoutIndices(at.path),
		Message: m.message, Suggestion: m.suggestion,
	}
	if d.reported[p] || len(d.problems) >= maxFound {
		return
	}
	d.reported[p] = true
	p.Key = at.path
	d.problems = append(d.problems, p)
}

// withoutIndices turns upstreams[3].name into upstreams[].name. It drops every digit, which is enough to
// compare.
func withoutIndices(path string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, path)
}

// spend counts one value and reports whether there may be more.
func (d *decoder) spend(at place) bool {
	if d.values > maxValues {
		return false
	}
	if d.values++; d.values > maxValues {
		d.problem(at, "more than %d values; do aliases multiply them?", maxValues)
		return false
	}
	return true
}

// value reads n into f, unless it is null: null is the same as absent.
func (d *decoder) value(at place, f field, n *yaml.Node) {
	n = target(n)
	if isNull(n) {
		if n.Anchor != "" && n.Value == "" {
			d.problem(at, "is empty: & names an anchor; a value that starts with & needs quotes")
		}
		return
	}
	d.places[at.path] = at
	f.decode(d, at, n)
}

// target is what an alias stands for, or n.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// section is a map with known keys.
type section []entry

type entry struct {
	name  string
	value field
}

func (s section) decode(d *decoder, at place, n *yaml.Node) {
	for _, p := range d.pairs(at, n) {
		name := p.key.Value
		if at.path == "" && strings.HasPrefix(name, "x-") {
			continue // a home for anchors
		}
		i := slices.IndexFunc(s, func(e entry) bool { return e.name == name })
		if i < 0 {
			d.unknown(at, s, p)
			continue
		}
		d.value(at.key(name, p.key), s[i].value, p.value)
	}
}

// unknown reports a key that s does not have.
func (d *decoder) unknown(at place, s section, p pair) {
	name, advice := p.shown(), s.advice(p.key.Value, d.schema)
	switch {
	case advice != "":
		name = shown(p.key.Value) // so it is a key after all
	case p.flow:
		advice = "a value with a comma in it needs quotes"
	}
	d.mistake(at.key(name, p.key), &mistake{"unknown key", advice})
}

func (s section) names() []string {
	names := make([]string, len(s))
	for i, e := range s {
		names[i] = e.name
	}
	return names
}

// branch is a field that has keys below it.
type branch interface {
	// below returns the keys, and what stands between the name of the field and them. No keys: a leaf after
	// all.
	below() (suffix string, keys section)
}

func (s section) below() (suffix string, keys section) { return "", s }

// paths lists every key of s and below, branches before what is below them, in the order of the schema.
func (s section) paths(prefix string) []string {
	var paths []string
	for _, e := range s {
		path, keys := prefix+e.name, section(nil)
		if b, ok := e.value.(branch); ok {
			var suffix string
			suffix, keys = b.below()
			path += suffix
		}
		paths = append(paths, path)
		paths = append(paths, keys.paths(path+".")...)
	}
	return paths
}

// list is a list whose entries have keys.
type list[T any] struct {
	into *[]T
	keys func(*T) section // of one entry, which it sets to its defaults
}

func (l list[T]) decode(d *decoder, at place, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		d.mistake(at, &mistake{"got " + got(n) + ", want a list", `start each entry with "- "`})
		return
	}
	for i, item := range n.Content {
		here := at.index(i, item)
		if !d.spend(here) {
			return
		}
		var entry T
		keys := l.keys(&entry)
		if isNull(target(item)) {
			d.problem(here, "is empty")
		}
		d.value(here, keys, item)
		*l.into = append(*l.into, entry)
	}
}

func (l list[T]) below() (suffix string, keys section) {
	var entry T
	return "[]", l.keys(&entry)
}
