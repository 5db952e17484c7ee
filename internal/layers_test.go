package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/outline-cli-ws/outline-cli-ws/"

// layers says which of our packages a package may import; the house stands because imports point down only.
// Change it in the commit that has the reason. "*" is everything below internal/ but the test helpers.
var layers = map[string][]string{
	"cmd/outline-cli-ws":      {"internal/app", "internal/config", "internal/report"},
	"examples/demo":           {"*", "internal/outlinetest"},
	"internal/app":            {"*"},
	"internal/config":         {},
	"internal/capture":        {},
	"internal/inbound/socks5": {"internal/transport", "internal/relay", "internal/socksaddr"},
	"internal/inbound/tun": {
		"internal/transport", "internal/relay", "internal/socksaddr", "internal/ippacket",
		"internal/dnsforward",
	},
	"internal/ippacket":                {},
	"internal/dnsforward":              {"internal/transport"},
	"internal/relay":                   {"internal/transport"},
	"internal/report":                  {},
	"internal/resolved":                {},
	"internal/metrics":                 {"internal/report"},
	"internal/status":                  {"internal/report"},
	"internal/balancer":                {"internal/transport", "internal/health"},
	"internal/health":                  {"internal/transport"},
	"internal/upstream":                {"internal/transport", "internal/websocket", "internal/shadowsocks"},
	"internal/shadowsocks":             {"internal/transport", "internal/socksaddr"},
	"internal/socksaddr":               {},
	"internal/websocket":               {"internal/transport"},
	"internal/carrier":                 {"internal/transport"},
	"internal/carrier/h1":              {"internal/transport", "internal/carrier"},
	"internal/carrier/h2":              {"internal/transport", "internal/carrier"},
	"internal/carrier/h3":              {"internal/transport", "internal/carrier"},
	"internal/dialer":                  {"internal/transport"},
	"internal/wake":                    {},
	"internal/transport":               {},
	"internal/transport/transporttest": {"internal/transport"},
	"internal/outlinetest":             {},
}

// helpers are packages that production code must not import.
var helpers = []string{"internal/outlinetest", "internal/transport/transporttest"}

func TestImportsPointDown(t *testing.T) {
	for file, imports := range importsByFile(t) {
		pkg := filepath.ToSlash(filepath.Dir(file))
		if strings.HasPrefix(pkg, "test/") {
			continue
		}
		allowed, ok := layers[pkg]
		if !ok {
			t.Errorf("%s: package %s is not in the table of layers", file, pkg)
			continue
		}
		for _, imported := range imports {
			free := slices.Contains(allowed, "*") && !slices.Contains(helpers, imported)
			if !free && !slices.Contains(allowed, imported) {
				t.Errorf("%s: %s must not import %s", file, pkg, imported)
			}
		}
	}
}

// importsByFile lists our own imports of every file that is no test.
func importsByFile(t *testing.T) map[string][]string {
	t.Helper()
	files := make(map[string][]string)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(name, module); ok {
				files[rel] = append(files[rel], ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
