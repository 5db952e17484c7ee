package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	// maxFile bounds a config file, in bytes. A thousand upstreams fit ten times.
	maxFile = 1 << 20
	// maxDepth bounds nesting; the schema needs five levels.
	maxDepth = 64
)

// Checks are the rules that this package does not know. A nil check accepts everything. No error may quote
// the path or the query of a URL.
type Checks struct {
	URL    func(raw string) error                   // of tcp_wss and udp_wss
	Cipher func(name string) error                  // of cipher
	Prefix func(cipher string, prefix []byte) error // of prefix with a cipher that is fine
}

// Load reads the file at path. Mistakes in it are [Errors]; a file that cannot be read is an *fs.PathError.
func Load(path string, checks Checks) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, whole(path, "is a directory, want a file")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, data, checks)
}

// Parse reads the content of a file. name is used in errors, and relative paths in data start at its folder.
// Every mistake is reported at once, as [Errors].
func Parse(name string, data []byte, checks Checks) (*Config, error) {
	doc, err := parseYAML(name, data)
	if err != nil {
		return nil, err
	}
	c, d := decodeNode(name, doc, checks)
	if len(d.problems) > 0 {
		return nil, d.problems.ordered()
	}
	return c, nil
}

// decodeNode fills a Config from the root node of a file. It is valid when the decoder has no problems.
func decodeNode(name string, doc *yaml.Node, checks Checks) (*Config, *decoder) {
	c := Default()
	d := &decoder{
		file: name, checks: checks,
		places: make(map[string]place), cas: make(map[string]caFile),
		reported: make(map[Problem]bool), failed: make(map[string]bool),
	}
	d.schema = d.root(&c)
	d.value(place{node: doc}, d.schema, doc)
	d.settle(&c)
	d.validate(&c, doc)
	return &c, d
}

// parseYAML returns the root node of the only document in data.
func parseYAML(name string, data []byte) (*yaml.Node, error) {
	if len(data) > maxFile {
		return nil, whole(name, fmt.Sprintf("is larger than %d bytes", maxFile))
	}
	if err := checkText(name, data); err != nil {
		return nil, err
	}
	limits := loaderlimits.New(loaderlimits.DepthValue(maxDepth))
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(limits))
	if err != nil {
		return nil, fmt.Errorf("read %s: start the YAML parser: %w", name, err)
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, syntaxError(name, data, err)
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return nil, Errors{{
			File: name, Line: 1,
			Message: "the file is empty; it needs at least one entry in upstreams",
		}}
	}
	switch err := loader.Load(&more); {
	case err == nil:
		return nil, Errors{{
			File: name, Line: more.Line, Column: more.Column,
			Message: "a second document starts here, want one only", Suggestion: "remove the line ---",
		}}
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(name, data, err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, Errors{{
			File: name, Line: root.Line, Column: root.Column,
			Message: "got " + got(root) + ", want keys like listen: and upstreams:",
		}}
	}
	return root, nil
}

// checkText finds bytes that cannot be in a YAML file; the YAML library would not say where they are.
func checkText(name string, data []byte) error {
	at := func(i int, message string) error {
		return Errors{{File: name, Line: 1 + bytes.Count(data[:i], []byte("\n")), Message: message}}
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		return at(0, "the file is UTF-16; save it as UTF-8")
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at(i, "the file is not UTF-8 here; save it as UTF-8")
		case isControl(r) && r != '\n' && r != '\r':
			return at(i, "a control character; remove it, or write it as an escape in double quotes")
		}
		i += size
	}
	return nil
}
