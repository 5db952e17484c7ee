package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// buildTime bounds commands, of which some build a program.
const buildTime = 2 * time.Minute

// home is the folder of a reader in the machine, empty at first; it is a folder here too.
const home = "/mnt/home"

// Reader is somebody who does what the pages say, in a shell of a machine.
type Reader struct {
	*Machine

	env    []string
	folder string // where the shell is
	jobs   int    // how many were started
}

// NewReader has a reader sit down in an empty folder.
func NewReader(t *testing.T, m *Machine) *Reader {
	t.Helper()
	if err := os.Mkdir(filepath.Join(m.Share, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	// What is set here shall not help, and a proxy not be in the way. Go may keep its things somewhere else.
	env := []string{"PATH=/mnt/bin:" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "GO") {
			env = append(env, variable)
		}
	}
	return &Reader{Machine: m, env: env, folder: home}
}

// StandIn has a program in the place of one that needs what a machine does not have. It does nothing but to
// note in the file asked what it is asked for.
func (r *Reader) StandIn(t *testing.T, program string) {
	t.Helper()
	path := filepath.Join(r.Share, "bin", program)
	write(t, path, "#!/bin/sh\necho "+program+" \"$*\" >>/mnt/asked\n")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// Set sets a variable of the shell.
func (r *Reader) Set(name, value string) { r.env = append(r.env, name+"="+value) }

// Path is the name here of a file of the reader.
func (r *Reader) Path(name string) string {
	return filepath.Join(r.Share, strings.TrimPrefix(filepath.Join(r.folder, name), "/mnt/"))
}

// Write has the reader write a file.
func (r *Reader) Write(t *testing.T, name, text string) {
	t.Helper()
	write(t, r.Path(name), text)
}

// Type runs commands to their end. All have to succeed; the shell stays where they went.
func (r *Reader) Type(t *testing.T, commands string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	output, err := r.shell(ctx, commands+"\npwd >/mnt/folder").CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, output)
	}
	folder, err := os.ReadFile(r.Share + "/folder")
	if err != nil {
		t.Fatal(err)
	}
	r.folder = strings.TrimSpace(string(folder))
	return string(output)
}

func (r *Reader) shell(ctx context.Context, script string) *exec.Cmd {
	cmd := r.Command(ctx, "bash", "-euo", "pipefail", "-c", "cd "+r.folder+"\n"+script)
	cmd.Env = r.env
	return cmd
}

// Job is commands of which the last one stays.
type Job struct {
	reader   *Reader
	commands string
	cmd      *exec.Cmd
	group    string // file with the number of its group of processes
	output   string // file with what it says
	ended    bool
}

// Start starts commands in a terminal of their own, where they stay until Interrupt, or the end of the test.
func (r *Reader) Start(t *testing.T, commands string) *Job {
	t.Helper()
	r.jobs++
	name := fmt.Sprintf("job%d", r.jobs)
	j := &Job{reader: r, commands: commands, group: name + ".group", output: filepath.Join(r.Share, name)}
	output, err := os.Create(j.output)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	j.cmd = r.shell(context.Background(), "set -m\n(\n"+commands+"\n) &\necho $! >/mnt/"+j.group+"\nwait $!")
	j.cmd.Stdout, j.cmd.Stderr = output, output
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the end of the machine is that of all jobs
		if !j.ended {
			_ = j.cmd.Process.Kill()
			_ = j.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%s\nsaid:\n%s", commands, j.said(t))
		}
	})
	return j
}

func (j *Job) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(j.output)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Wait waits until it has said all of these texts, and returns everything that it has said.
func (j *Job) Wait(t *testing.T, texts ...string) (said string) {
	t.Helper()
	for _, text := range texts {
		withinTime(t, buildTime, j.commands, func() error {
			if said = j.said(t); !strings.Contains(said, text) {
				return fmt.Errorf("it does not say %q", text)
			}
			return nil
		})
	}
	return said
}

// Signal sends a signal to its processes, as a terminal does for Ctrl-C.
func (j *Job) Signal(t *testing.T, name string) {
	t.Helper()
	j.reader.Run(t, "kill -"+name+" -$(cat "+j.group+")")
}

// Interrupt types Ctrl-C and returns the exit status.
func (j *Job) Interrupt(t *testing.T) int {
	t.Helper()
	j.Signal(t, "INT")
	timer := time.AfterFunc(patience, func() { _ = j.cmd.Process.Kill() })
	defer timer.Stop()
	err := j.cmd.Wait()
	j.ended = true
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return j.cmd.ProcessState.ExitCode()
}
