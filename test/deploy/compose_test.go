package deploy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose reads the file in folder as docker compose does, by its schema, with the variables of .env.
func loadCompose(t *testing.T, folder string) *types.Project {
	t.Helper()
	environment, err := dotenv.Read(filepath.Join(folder, ".env"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(folder, "docker-compose.yml")}},
		Environment: environment,
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// exampleCopied is a clone in which the user has done the first step.
func exampleCopied(t *testing.T) (folder string) {
	t.Helper()
	folder = clone(t)
	copyFile(t, folder+"/examples/config.example.yaml", folder+"/config.yaml")
	return folder
}

// TestCompose looks for all that an engine would look for, and for what nobody should be able to reach.
func TestCompose(t *testing.T) {
	folder := exampleCopied(t)
	project := loadCompose(t, folder)
	for _, name := range []string{"client", "prometheus", "grafana"} {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range project.Services {
		t.Run(name, func(t *testing.T) {
			wantSource(t, s)
			wantMounts(t, s)
			wantClosed(t, s)
		})
	}
}

// TestComposeNames has the services know each other by the names that they have.
func TestComposeNames(t *testing.T) {
	for file, want := range map[string]string{
		"deploy/prometheus/prometheus.yml":                       `"client:9100"`,
		"deploy/grafana/provisioning/datasources/prometheus.yml": "http://prometheus:9090",
		"docker-compose.yml":                                     "0.0.0.0:9100",
	} {
		text, err := os.ReadFile(filepath.Join(repository, file))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, want %s in it", file, err, want)
		}
	}
}

// wantSource wants what the image is made of, or an image that stays the same.
func wantSource(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if b := s.Build; b != nil {
		wantFile(t, filepath.Join(b.Context, b.Dockerfile))
	} else if _, tag, ok := strings.Cut(s.Image, ":"); !ok || tag == "latest" {
		t.Errorf("image %s has no version", s.Image)
	}
}

func wantMounts(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		wantFile(t, v.Source)
		if !v.ReadOnly {
			t.Errorf("it can write to %s", v.Source)
		}
	}
}

// wantClosed wants nothing that other hosts can reach, and no rights over this one.
func wantClosed(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	for _, p := range s.Ports {
		if p.HostIP != "127.0.0.1" {
			t.Errorf("port %s is published at %q, want 127.0.0.1", p.Published, p.HostIP)
		}
	}
	if s.Privileged || s.NetworkMode == "host" || len(s.CapAdd) > 0 {
		t.Error("it has rights that it does not need")
	}
}

func wantFile(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
