package deploy

import (
	"debug/elf"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dockerfile is where an engine finds it, in the root of the repository.
const dockerfile = "deploy/Dockerfile"

// TestImage builds the image and looks at what is in it.
func TestImage(t *testing.T) {
	folder := clone(t)
	write(t, filepath.Join(folder, "config.yaml"), "the user's, with secrets")
	if _, err := os.Stat(filepath.Join(sentToEngine(t, folder), "config.yaml")); err == nil {
		t.Error("config.yaml is sent to the engine")
	}
	image := BuildImage(t, folder, dockerfile)
	var files []string
	err := fs.WalkDir(os.DirFS(image.Root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"etc/ssl/certs/ca-certificates.crt", "outline-cli-ws"}; !slices.Equal(files, want) {
		t.Errorf("files = %v, want %v", files, want)
	}
	if user, _, _ := strings.Cut(image.User, ":"); user == "" || user == "0" || user == "root" {
		t.Errorf("user = %q, want another than root, by number", image.User)
	}
	commands := map[string][]string{"ENTRYPOINT": image.Entrypoint, "HEALTHCHECK": image.Health}
	for name, command := range commands {
		if len(command) == 0 || command[0] != "/outline-cli-ws" {
			t.Errorf("%s = %q, want the program, as there is no shell", name, command)
		}
	}
	wantStatic(t, filepath.Join(image.Root, "outline-cli-ws"))
}

// wantStatic wants a program that needs no other file to start.
func wantStatic(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program is linked dynamically")
		}
	}
}
