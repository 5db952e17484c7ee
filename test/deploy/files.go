package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is where the tests find it.
const repository = "../.."

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// clone returns a folder with what a clone of the repository has: what git keeps and, before a commit, would
// keep.
func clone(t *testing.T) string {
	t.Helper()
	need(t, "git")
	const everything = "*" // the tree may belong to another user
	list := exec.Command("git", "-C", repository, "-c", "safe.directory="+everything,
		"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	names, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	folder := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		from := filepath.Join(repository, name)
		info, err := os.Stat(from)
		if err != nil {
			continue // deleted just now
		}
		copyFile(t, from, filepath.Join(folder, name))
		if err := os.Chmod(filepath.Join(folder, name), info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
