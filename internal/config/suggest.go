package config

import (
	"slices"
	"strings"
)

// maxKeyLen bounds what is compared and what is printed of a key that we do not know.
const maxKeyLen = 40

// nearest returns the candidate that word is most likely a misspelling of, or "".
func nearest(word string, candidates []string) string {
	word = plain(word)
	if word == "" || len(word) > maxKeyLen {
		return ""
	}
	best, least := "", 1+len(word)/3
	for _, c := range candidates {
		if d := distance(word, plain(c)); d < least || (d == least && best == "") {
			best, least = c, d
		}
	}
	return best
}

// plain makes spellings equal that differ in style alone: tcp-wss, TCP_WSS.
func plain(key string) string {
	return strings.ReplaceAll(strings.ToLower(key), "-", "_")
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal
// string alignment).
func distance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}

// advice says what may have been meant by a key that is not known in s: the same key at its right place
// first, since it is spelt right, then a similar one here.
func (s section) advice(key string, root section) string {
	near := nearest(key, s.names())
	switch name, place := dottedKey(key, root); {
	case s.lacksSpace(key):
		return "put a space after the colon"
	case place != "":
		return name + " belongs in " + place
	case near != "" && plain(near) == plain(key):
		return "did you mean " + near + "?"
	}
	if places := root.placesOf(key); len(places) > 0 {
		return plain(key) + " belongs " + strings.Join(places, " or ")
	}
	if near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// lacksSpace reports whether key is a key of s, a colon and what should be its value.
func (s section) lacksSpace(key string) bool {
	name, _, colon := strings.Cut(key, ":")
	return colon && nearest(name, s.names()) != ""
}

// placesOf lists where in s and below a key of this name may stand, as "in listen" or "at the top level".
func (s section) placesOf(key string) []string {
	var places []string
	for _, path := range s.paths("") {
		place, name := "", path
		if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
			place, name = path[:dot], path[dot+1:]
		}
		if strings.TrimSuffix(name, "[]") != plain(key) {
			continue
		}
		if place == "" {
			places = append(places, "at the top level")
			continue
		}
		places = append(places, "in "+place)
	}
	return slices.Compact(places)
}

// dottedKey recognises a key that was written as its full path, like listen.socks5.
func dottedKey(key string, root section) (name, place string) {
	dot := strings.LastIndexByte(key, '.')
	if dot < 0 || !slices.Contains(root.paths(""), key) {
		return "", ""
	}
	return key[dot+1:], key[:dot]
}

// shown is as much of an unknown key as is safe to print. A key that is not made of the characters of keys
// may be a value that lost its place, so it is cut there.
func shown(key string) string {
	odd := strings.IndexFunc(key, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", r)
	})
	if odd < 0 {
		odd = len(key)
	}
	if odd = min(odd, maxKeyLen); odd < len(key) {
		return key[:odd] + "…"
	}
	return key
}
