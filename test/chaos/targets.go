package main

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

const (
	// nameServer is where the name server is for clients. Servers of Outline treat port 53 in its own way, so
	// it has to be that one.
	nameServer = "192.0.2.53:53"

	pageText      = "This page came through the tunnel, or another one that took over.\n"
	lengthHeader  = "X-Length" // of a download, announced ahead of its end
	sumHeader     = "X-Sha256"
	downloadParts = 16
	downloadPause = 100 * time.Millisecond // between them, so that faults meet downloads in the middle
)

// targets are what flows talk to.
type targets struct {
	web   *webTarget
	tls   *outlinetest.Server // any that answers HTTPS would do; this one has an authority of its own
	names *outlinetest.Target
	pool  *x509.CertPool
}

// startTargets starts them. The parts of a download come with pauses between them.
func startTargets(pause time.Duration) (t *targets, err error) {
	t = &targets{}
	if t.web, err = startWeb(pause); err != nil {
		return t, err
	}
	if t.tls, err = outlinetest.Start(outlinetest.Config{}); err != nil {
		return t, err
	}
	t.pool = t.tls.CertPool()
	t.names, err = outlinetest.StartDNS("")
	return t, err
}

func (t *targets) close() {
	if t.web != nil {
		t.web.close()
	}
	if t.tls != nil {
		_ = t.tls.Close()
	}
	if t.names != nil {
		_ = t.names.Close()
	}
}

// duplicates is how many POSTs arrived more than once.
func (t *targets) duplicates() int { return t.web.duplicates() }

// webTarget serves a page, downloads, and POSTs, which it counts.
type webTarget struct {
	addr    string
	pause   time.Duration // between the parts of a download
	server  *http.Server
	running sync.WaitGroup

	mu    sync.Mutex
	posts map[string]int // arrivals by id
}

func startWeb(pause time.Duration) (*webTarget, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &webTarget{addr: l.Addr().String(), pause: pause, posts: make(map[string]int)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, pageText)
	})
	mux.HandleFunc("POST /{id}", t.post)
	mux.HandleFunc("GET /download/{size}", t.download)
	t.server = &http.Server{Handler: mux}
	t.running.Go(func() {
		if err := t.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Println("web target:", err)
		}
	})
	return t, nil
}

func (t *webTarget) close() {
	_ = t.server.Close()
	t.running.Wait()
}

// post counts a request as soon as its head is there, whatever becomes of the rest.
func (t *webTarget) post(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	t.mu.Lock()
	t.posts[id]++
	t.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, id)
}

func (t *webTarget) duplicates() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, arrivals := range t.posts {
		if arrivals > 1 {
			n++
		}
	}
	return n
}

// download announces what comes and sends it bit by bit. Asked with HTTP/1.0, its end is that of the
// connection.
func (t *webTarget) download(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.PathValue("size"))
	if err != nil || size < downloadParts {
		http.Error(w, "not a size", http.StatusBadRequest)
		return
	}
	content, err := io.ReadAll(outlinetest.Pattern(int64(size)))
	if err != nil {
		return
	}
	w.Header().Set(lengthHeader, strconv.Itoa(size))
	w.Header().Set(sumHeader, fmt.Sprintf("%x", sha256.Sum256(content)))
	flush := http.NewResponseController(w)
	for range downloadParts {
		part := content[:min(len(content), size/downloadParts+1)]
		content = content[len(part):]
		if _, err := w.Write(part); err != nil {
			return
		}
		_ = flush.Flush()
		select {
		case <-time.After(t.pause):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}
