package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

const (
	// stateFormat is the first thing in a state file, so that no other file is taken for one and overwritten.
	stateFormat = "outline-cli-ws state 1"
	// saveEvery is how old the state is after a crash, at most.
	saveEvery = time.Minute
	// maxState bounds what is read: a thousand upstreams need a tenth of it.
	maxState = 8 << 20
)

// errNoState says that a file is not ours to overwrite.
var errNoState = errors.New("is not a state file of this program; name another one in state_file")

// state keeps what was learnt about upstreams over restarts. Without a path it does nothing.
type state struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	kept map[string]remembered
}

// remembered is one upstream. A path that it does not carry has no record.
type remembered struct {
	server   string // scheme, host and port of its URLs: another server has another past
	tcp, udp *health.Record
	memory   *carrier.Memory
}

// use has the state be that of a fleet from now on.
func (s *state) use(f *fleet) {
	kept := make(map[string]remembered, len(f.units))
	for _, u := range f.units {
		r := remembered{server: u.entry.TCP.String() + " " + u.entry.UDP.String(), memory: u.memory}
		if u.stream != nil {
			r.tcp = u.stream.Health
		}
		if u.packet != nil {
			r.udp = u.packet.Health
		}
		kept[u.entry.Name] = r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = kept
}

// stateFile is the file. It has no secrets.
type stateFile struct {
	Format    string                 `json:"format"`
	Upstreams map[string]stateRecord `json:"upstreams"`
}

type stateRecord struct {
	Server   string           `json:"server"`
	TCP      *health.Snapshot `json:"tcp,omitempty"`
	UDP      *health.Snapshot `json:"udp,omitempty"`
	Carriers carrier.Snapshot `json:"carriers,omitempty"`
}

// load restores what the file still says of the upstreams of today. A file that is not there yet, or was cut
// short, says nothing; one that is something else is an error.
func (s *state) load(now time.Time) error {
	if s.path == "" {
		return nil
	}
	text, err := readBounded(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state_file: %w", err)
	}
	var f stateFile
	if err := json.Unmarshal(text, &f); err != nil || f.Format != stateFormat {
		if !bytes.Contains(text, []byte(stateFormat)) && len(text) > 0 {
			return fmt.Errorf("state_file %s %w", s.path, errNoState)
		}
		s.log.Warn("state file is damaged: starting without it", "err", err)
		return nil
	}
	for name, r := range f.Upstreams {
		s.restore(name, r, now)
	}
	return nil
}

func (s *state) restore(name string, r stateRecord, now time.Time) {
	kept, ok := s.kept[name]
	if !ok || kept.server != r.Server {
		return
	}
	if kept.tcp != nil && r.TCP != nil {
		kept.tcp.Restore(*r.TCP, now)
	}
	if kept.udp != nil && r.UDP != nil {
		kept.udp.Restore(*r.UDP, now)
	}
	kept.memory.Restore(r.Carriers, now)
}

// save writes the file anew, whole or not at all.
func (s *state) save(now time.Time) error {
	if s.path == "" {
		return nil
	}
	f := stateFile{Format: stateFormat, Upstreams: make(map[string]stateRecord)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, kept := range s.kept {
		r := stateRecord{Server: kept.server, Carriers: kept.memory.Snapshot(now)}
		r.TCP, r.UDP = snapshot(kept.tcp), snapshot(kept.udp)
		f.Upstreams[name] = r
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.path, append(text, '\n'))
}

func snapshot(r *health.Record) *health.Snapshot {
	if r == nil {
		return nil
	}
	s := r.Snapshot()
	return &s
}

// run saves now and then until ctx ends, and once more.
func (s *state) run(ctx context.Context) {
	if s.path == "" {
		return
	}
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ended = true
		}
		if err := s.save(time.Now()); err != nil {
			s.log.WarnContext(ctx, "state not saved", "err", err)
		}
	}
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxState {
		return nil, errNoState
	}
	return os.ReadFile(path)
}

// replaceFile puts text where path was, for its owner alone.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
