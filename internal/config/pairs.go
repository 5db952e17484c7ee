package config

import (
	"slices"

	"go.yaml.in/yaml/v4"
)

// pair is one key of a map with its value, which may be an alias.
type pair struct {
	key, value *yaml.Node
	flow       bool // the map is written with braces
}

// shown is the key as far as it is safe to print. In {password: a,b} the key b is a piece of a password, so
// keys that could be one are not shown: those without a value, and those without quotes in a map with braces.
func (p pair) shown() string {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle
	empty := isNull(p.value) && p.value.Value == ""
	if empty || p.flow && p.key.Style&quoted == 0 {
		return "…"
	}
	return shown(p.key.Value)
}

// pairs lists the keys of the map n, with those of its merges (<<) behind its own.
func (d *decoder) pairs(at place, n *yaml.Node) []pair {
	if n.Kind != yaml.MappingNode {
		d.problem(at, "got %s, want keys below it, indented", got(n))
		return nil
	}
	var (
		pairs  []pair
		merges []*yaml.Node
		lines  = make(map[string]int, len(n.Content)/2)
	)
	for i := 0; i+1 < len(n.Content) && d.spend(at); i += 2 {
		key := n.Content[i]
		p := pair{key, n.Content[i+1], n.Style&yaml.FlowStyle != 0}
		switch {
		case key.Tag == "!!merge":
			merges = append(merges, p.value)
		case key.Kind != yaml.ScalarNode || key.Value == "":
			d.problem(place{at.path, key}, "a key must be plain text")
		case lines[key.Value] > 0:
			d.problem(at.key(d.keyName(p), key), "is set twice, first on line %d", lines[key.Value])
		default:
			lines[key.Value] = key.Line
			pairs = append(pairs, p)
		}
	}
	for _, m := range merges {
		pairs = d.merge(place{at.path, m}, pairs, target(m))
	}
	return pairs
}

// keyName is the name of a key that may or may not be one of the schema.
func (d *decoder) keyName(p pair) string {
	if len(d.schema.placesOf(p.key.Value)) > 0 {
		return p.key.Value
	}
	return p.shown()
}

// merge adds to pairs the keys of n that are not there yet. n is a map or a list of maps, of which the first
// wins.
func (d *decoder) merge(at place, pairs []pair, n *yaml.Node) []pair {
	if slices.Contains(d.merging, n) {
		d.problem(at, "<< merges a map into itself")
		return pairs
	}
	d.merging = append(d.merging, n)
	defer func() { d.merging = d.merging[:len(d.merging)-1] }()

	switch {
	case isNull(n):
	case n.Kind == yaml.MappingNode:
		pairs = addMissing(pairs, d.pairs(at, n))
	case n.Kind == yaml.SequenceNode:
		for _, m := range n.Content {
			if !d.spend(at) {
				break
			}
			pairs = d.merge(place{at.path, m}, pairs, target(m))
		}
	default:
		d.problem(at, "got %s, want << to name a map or a list of maps", got(n))
	}
	return pairs
}

// addMissing appends to pairs those of more whose key is not there yet.
func addMissing(pairs, more []pair) []pair {
	known := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		known[p.key.Value] = true
	}
	for _, p := range more {
		if !known[p.key.Value] {
			known[p.key.Value] = true
			pairs = append(pairs, p)
		}
	}
	return pairs
}
