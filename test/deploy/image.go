package deploy

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Image is what a Dockerfile makes.
type Image struct {
	Root       string // the folder with its files
	User       string
	Entrypoint []string
	Command    []string
	Health     []string // the command of the health check
}

// builder does what an engine does with a Dockerfile, without one: each stage is a folder, and the host
// stands in for the files and programs of the base images.
type builder struct {
	context string            // the folder that is sent to the engine
	stages  map[string]string // their folders by name

	root, dir string // of the stage that is built; dir is within
	env       []string
	image     *Image
}

// BuildImage builds a Dockerfile in a folder.
func BuildImage(t *testing.T, folder, dockerfile string) *Image {
	t.Helper()
	file, err := os.Open(filepath.Join(folder, dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("%s: %s", dockerfile, w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{context: sentToEngine(t, folder), stages: make(map[string]string)}
	for _, stage := range stages {
		b.root, b.dir, b.env, b.image = t.TempDir(), "/", nil, new(Image)
		b.image.Root = b.root
		b.stages[stage.Name] = b.root
		for _, command := range stage.Commands {
			b.do(t, command)
		}
	}
	if last := stages[len(stages)-1]; last.BaseName != "scratch" {
		t.Errorf("the image is made from %s, want scratch", last.BaseName)
	}
	return b.image
}

func (b *builder) do(t *testing.T, command instructions.Command) {
	t.Helper()
	switch c := command.(type) {
	case *instructions.WorkdirCommand:
		b.dir = path.Join(b.dir, c.Path)
		if err := os.MkdirAll(filepath.Join(b.root, b.dir), 0o755); err != nil {
			t.Fatal(err)
		}
	case *instructions.ArgCommand:
		b.env = append(b.env, "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH)
	case *instructions.CopyCommand:
		b.copy(t, c)
	case *instructions.RunCommand:
		b.run(t, c)
	case *instructions.UserCommand:
		b.image.User = c.User
	case *instructions.EntrypointCommand:
		b.image.Entrypoint = c.CmdLine
	case *instructions.CmdCommand:
		b.image.Command = c.CmdLine
	case *instructions.HealthCheckCommand:
		b.image.Health = slices.DeleteFunc(c.Health.Test, func(s string) bool { return s == "CMD" })
	case *instructions.ExposeCommand:
	default:
		t.Fatalf("%s: the tests cannot do that", command)
	}
}

func (b *builder) copy(t *testing.T, c *instructions.CopyCommand) {
	t.Helper()
	to := path.Join(b.dir, c.DestPath)
	if path.IsAbs(c.DestPath) {
		to = c.DestPath
	}
	for _, source := range c.SourcePaths {
		from := filepath.Join(b.context, source)
		if c.From != "" {
			from = filepath.Join(b.stages[c.From], source)
			if _, err := os.Stat(from); err != nil {
				from = source // a file of the base image
			}
		}
		info, err := os.Stat(from)
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		target := filepath.Join(b.root, to)
		if info.IsDir() {
			err = os.CopyFS(target, os.DirFS(from))
		} else {
			if strings.HasSuffix(c.DestPath, "/") {
				target = filepath.Join(target, filepath.Base(from))
			}
			copyFile(t, from, target)
			err = os.Chmod(target, info.Mode())
		}
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
}

func (b *builder) run(t *testing.T, c *instructions.RunCommand) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", strings.Join(c.CmdLine, " "))
	cmd.Dir = filepath.Join(b.root, b.dir)
	cmd.Env = append(os.Environ(), b.env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, output)
	}
}

// sentToEngine returns a copy of a folder without what .dockerignore says.
func sentToEngine(t *testing.T, folder string) string {
	t.Helper()
	file, err := os.Open(filepath.Join(folder, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	sent := t.TempDir()
	err = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		if skip, err := ignored.MatchesOrParentMatches(relative); err != nil || skip {
			return err
		}
		copyFile(t, name, filepath.Join(sent, relative))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}
