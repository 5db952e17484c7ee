package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const exampleFile = "../../examples/config.example.yaml"

// leaves lists every key of the schema that has no keys below it, as in upstreams[].tls.ca_file.
func leaves() []string {
	var c Config
	paths := new(decoder).root(&c).paths("")
	var leaves []string
	for i, path := range paths {
		if i+1 < len(paths) && strings.HasPrefix(paths[i+1], path+".") {
			continue
		}
		leaves = append(leaves, path)
	}
	return leaves
}

func TestDocsMentionEveryKey(t *testing.T) {
	docs := string(readFile(t, "../../docs/config.md"))
	for _, key := range leaves() {
		section, name := "", key
		if dot := strings.IndexByte(key, '.'); dot >= 0 {
			section, name = strings.TrimSuffix(key[:dot], "[]"), key[dot+1:]
		}
		if section != "" {
			text, found := cutSection(docs, section)
			if !found {
				t.Errorf("docs/config.md has no section %s", section)
			}
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("section %s of docs/config.md does not mention `%s`", section, name)
			}
			continue
		}
		if !strings.Contains(docs, "`"+name+"`") {
			t.Errorf("docs/config.md does not mention `%s`", name)
		}
	}
}

func cutSection(docs, name string) (text string, found bool) {
	_, text, found = strings.Cut(docs, "\n## "+name+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return text, found
}

func TestDocsShowWhatHappens(t *testing.T) {
	docs := string(readFile(t, "../../docs/config.md"))
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(docs, -1)
	if len(blocks) < 10 {
		t.Fatalf("docs/config.md has %d blocks of YAML, want more", len(blocks))
	}
	t.Chdir(t.TempDir())
	write(t, "server-1.secret", []byte("s\n"))
	t.Setenv("ALICE_PASSWORD", "p")
	for _, block := range blocks {
		file := block[1]
		if !strings.Contains(file, "upstreams:") {
			file += minimal
		}
		file = strings.ReplaceAll(file, `ca_file: "my-ca.pem"`, "ca_file: null")
		_, err := Parse("config.yaml", []byte(file), Checks{})
		if err != nil && !strings.Contains(docs, "```text\n"+err.Error()+"\n```") {
			t.Errorf("the example\n%s\ngives\n%v\nwhich the text does not say", file, err)
		}
	}
}

func TestExampleLoads(t *testing.T) {
	c := load(t, exampleFile)
	if got, want := c.Upstreams[0].Name, "server-1"; got != want {
		t.Errorf("name of the upstream = %q, want %q", got, want)
	}
	if len(c.Deprecated)+len(c.Notes) != 0 {
		t.Errorf("the example makes noise: %q, %q", c.Deprecated, c.Notes)
	}
}

// uncommented is the example with every optional key switched on. Prose has one space behind the "#", keys
// have none, or more where they belong below another key.
func uncommented(t *testing.T) []byte {
	t.Helper()
	return regexp.MustCompile(`(?m)^( *)#([^ \n]|  )`).ReplaceAll(readFile(t, exampleFile), []byte("$1$2"))
}

func TestExampleShowsEveryKeyWithItsDefault(t *testing.T) {
	got, d := decode(t, uncommented(t))
	for _, key := range leaves() {
		if !d.has(strings.ReplaceAll(key, "[]", "[0]")) {
			t.Errorf("the example does not show %s", key)
		}
	}
	want := Default()
	want.Listen.SOCKS5Users = []User{{"alice", NewSecret("CHANGE_ME")}}
	want.Upstreams = []Upstream{defaultUpstream()}
	u := &want.Upstreams[0]
	u.Name, u.Cipher, u.Secret = "server-1", "chacha20-ietf-poly1305", NewSecret("YOUR_SECRET")
	u.TCP, u.UDP = NewURL("wss://example.com/TCP_PATH"), NewURL("wss://example.com/UDP_PATH")
	u.Headers = map[string]Secret{"User-Agent": NewSecret("Mozilla/5.0")}
	want.Deprecated = got.Deprecated
	same(t, got, &want)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
