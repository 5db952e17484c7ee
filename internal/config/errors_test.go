package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests get to testdata/errors/*.txt")

// knownCipher is what a caller's check may look like.
func knownCipher(name string) error {
	if name != "aes-256-gcm" {
		return errors.New("unknown cipher; want aes-256-gcm")
	}
	return nil
}

func TestEveryMistakeAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v, want files", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Parse(file, readFile(t, file), Checks{Cipher: knownCipher})
			list, ok := errors.AsType[Errors](err)
			if !ok {
				t.Fatalf("Parse = %v, want Errors", err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			got := strings.ReplaceAll(list.Error(), file, "config.yaml") + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(readFile(t, golden)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestChecksAreReportedWhereTheyBelong(t *testing.T) {
	checks := Checks{
		URL:    func(string) error { return errors.New("contradicting flags") },
		Cipher: knownCipher,
		Prefix: func(cipher string, prefix []byte) error {
			if cipher != "aes-256-gcm" || string(prefix) != "POST " {
				t.Errorf("Prefix(%q, %q), want aes-256-gcm and POST", cipher, prefix)
			}
			return errors.New("longer than the salt")
		},
	}
	file := "upstreams:\n" +
		"- tcp_wss: wss://a.example/p\n  cipher: aes-256-gcm\n  secret: s\n  prefix: 'POST '\n" +
		"- udp_wss: wss://a.example/p\n  cipher: none\n  secret: s\n  prefix: x\n"
	_, err := Parse("c.yaml", []byte(file), checks)
	wantText(t, err, `c.yaml:2: upstreams[0].tcp_wss: contradicting flags
c.yaml:5: upstreams[0].prefix: longer than the salt
c.yaml:6: upstreams[1].udp_wss: contradicting flags
c.yaml:7: upstreams[1].cipher: unknown cipher; want aes-256-gcm`)
}

func TestProblemFields(t *testing.T) {
	_, err := Parse("c.yaml", []byte("upstreams:\n  - tcp_wss: wss://a.example\n    wieght: 2\n"+
		"    cipher: aes-256-gcm\n    secret: s\n"), Checks{})
	list, _ := errors.AsType[Errors](err)
	want := Problem{
		File: "c.yaml", Line: 3, Column: 5,
		Key: "upstreams[0].wieght", Message: "unknown key", Suggestion: "did you mean weight?",
	}
	if len(list) != 1 || list[0] != want {
		t.Errorf("Parse = %+v, want %+v", list, want)
	}
}

func TestErrorsAreCut(t *testing.T) {
	var b strings.Builder
	for i := range 3 * maxFound {
		b.WriteString("k" + strings.Repeat("x", i%7) + strings.Repeat("y", i/7%900) + ": 1\n")
	}
	_, err := Parse("c.yaml", []byte(b.String()), Checks{})
	list, _ := errors.AsType[Errors](err)
	if len(list) != maxProblems+1 {
		t.Fatalf("Parse gives %d problems, want %d", len(list), maxProblems+1)
	}
	if got, want := list[maxProblems].Message, "more than 100 mistakes; the rest is not shown"; got != want {
		t.Errorf("the last problem = %q, want %q", got, want)
	}
}

// wantText checks the whole text of an error.
func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", want)
	}
	if got := err.Error(); got != want {
		t.Errorf("got error\n%s\nwant\n%s", got, want)
	}
}
