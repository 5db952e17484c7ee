package deploy

import (
	"os"
	"strings"
	"testing"
)

// commands are those of the first block of shell commands under a heading of docs/service.md that has text in
// it.
func commands(t *testing.T, heading, text string) string {
	t.Helper()
	page, err := os.ReadFile(repository + "/docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n"+heading+"\n")
	for found {
		var block string
		if _, section, found = strings.Cut(section, "\n```sh\n"); !found {
			break
		}
		block, section, _ = strings.Cut(section, "```\n")
		if strings.Contains(block, text) {
			return block
		}
	}
	t.Fatalf("docs/service.md has no commands with %q under %s", text, heading)
	return ""
}
