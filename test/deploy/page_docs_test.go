package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func (p *Page) readConfig(t *testing.T) {
	p.reader.Write(t, "config.yaml", p.File(t))
	client := p.Stay(t, "chmod 600 config.yaml\n./outline-cli-ws -c config.yaml")
	client.Wait(t, started)
	wantPage(t, p.Do(t, "curl -x socks5h://127.0.0.1:1080 https://example.com"), "example.com")
	wantEnd(t, client)
	pin := p.Do(t, "openssl s_client -connect ams.example.com:443 </dev/null | "+
		"openssl x509 -pubkey -noout |\n"+
		"  openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64")
	lines := strings.Split(strings.TrimSpace(pin), "\n")
	wantPin(t, p.reader, lines[len(lines)-1])
	p.Fill("outline-cli-ws tun", "./outline-cli-ws tun") // it is not installed yet
	wantText(t, p.Do(t, "outline-cli-ws tun down"), "0 rules, routes and tables removed")
	p.Do(t, "chmod 600 config.yaml")
}

// wantPin wants the program to take the server for the one with that pin, and for no other.
func wantPin(t *testing.T, r *Reader, pin string) {
	t.Helper()
	config := r.Type(t, "cat config.yaml")
	r.Write(t, "config.yaml", config+"    tls: {pin_sha256: \"sha256//"+pin+"\"}\n")
	client := r.Start(t, "./outline-cli-ws")
	client.Wait(t, started)
	wantPage(t, r.Type(t, "curl -x socks5h://127.0.0.1:1080 https://example.com"), "example.com")
	wantEnd(t, client)
	r.Write(t, "config.yaml", config)
}

// withServer is the configuration that README.md shows, with the lines of another page.
func withServer(t *testing.T, p *Page, lines string) {
	t.Helper()
	readme := p.reader.Open(t, "README.md")
	for readme.rest[0].Kind != YAML {
		readme.rest = readme.rest[1:]
	}
	p.reader.Write(t, "config.yaml", readme.File(t)+lines)
}

// amsterdam is another upstream, the one of docs/config.md.
const amsterdam = `  - name: "amsterdam"
    tcp_wss: "wss://ams.example.com/TCP_PATH"
    udp_wss: "wss://ams.example.com/UDP_PATH"
    cipher: "chacha20-ietf-poly1305"
    secret: "YOUR_SECRET"
`

func (p *Page) readStatus(t *testing.T) {
	r, lines := p.reader, p.File(t)
	withServer(t, p, amsterdam+lines)
	client := r.Start(t, "./outline-cli-ws")
	client.Wait(t, "127.0.0.1:9101", usable)
	p.Skip(t, "ssh -L 9101:127.0.0.1:9101 HOST", "there is no other machine")
	wantText(t, r.Type(t, "ssh -G -L 9101:127.0.0.1:9101 HOST"), "localforward 9101 [127.0.0.1]:9101")
	status := p.Stay(t, "./outline-cli-ws status -c config.yaml\n./outline-cli-ws status -json\n"+
		"./outline-cli-ws status -watch")
	said := status.Wait(t, "PROBED", `"name": "server-1"`)
	within(t, "status -watch", func() error {
		if strings.Count(status.said(t), "PROBED") < 3 {
			return fmt.Errorf("it does not show it again:\n%s", said)
		}
		return nil
	})
	wantEnd(t, status)
	said = p.Do(t, `TOKEN=0c3de69e5bd0fd0d0f6b2fb0bb6e0e1c
curl http://127.0.0.1:9101/api/v1/status
curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:9101/api/v1/upstreams/amsterdam/drain`)
	wantText(t, said, `"ready"`)
	wantText(t, r.Type(t, "./outline-cli-ws status -json"), `"drained": true`)
	wantEnd(t, client)

	withServer(t, p, "status: {listen: \"unix:status.sock\"}\n")
	client = r.Start(t, "./outline-cli-ws")
	client.Wait(t, started, usable)
	wantText(t, p.Do(t, "./outline-cli-ws status -addr unix:status.sock\n"+
		"curl --unix-socket status.sock http://localhost/readyz"), "ready")
	wantEnd(t, client)
}

func (p *Page) readMetrics(t *testing.T) {
	r := p.reader
	withServer(t, p, p.File(t))
	client := r.Start(t, "./outline-cli-ws")
	client.Wait(t, "127.0.0.1:9100")
	wantText(t, p.Do(t, "curl -s http://127.0.0.1:9100/metrics | grep ^outlinews_"), "outlinews_build_info")
	wantEnd(t, client)

	uploads := make(chan string, 1)
	grafana := httptest.NewServer(uploaded(uploads))
	t.Cleanup(grafana.Close)
	r.Set("GRAFANA", grafana.URL)
	r.Set("TOKEN", "secret")
	p.Do(t, `curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' `+
		`-d @examples/outlinews_grafana_dashboard_api.json $GRAFANA/api/dashboards/db`)
	if got := <-uploads; got != "" {
		t.Errorf("upload to Grafana: %s", got)
	}
	p.Do(t, "go test ./deploy/grafana -update")
	if changed := r.Type(t, "git status --porcelain --untracked-files=no"); changed != "" {
		t.Errorf("-update changes what is in the repository:\n%s", changed)
	}
	wantText(t, p.Do(t, "promtool test rules deploy/prometheus/alerts_test.yml"), "SUCCESS")
}

// uploaded says of each request what Grafana would have against it.
func uploaded(said chan<- string) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		var upload struct {
			Dashboard struct{ Title string }
		}
		text, err := io.ReadAll(request.Body)
		if err == nil {
			err = json.Unmarshal(text, &upload)
		}
		switch {
		case err != nil:
			said <- err.Error()
		case request.Method != http.MethodPost || request.URL.Path != "/api/dashboards/db",
			request.Header.Get("Authorization") != "Bearer secret",
			request.Header.Get("Content-Type") != "application/json":
			said <- fmt.Sprint(request.Method, request.URL, request.Header)
		case upload.Dashboard.Title == "":
			said <- "there is no dashboard with a title"
		default:
			said <- ""
		}
	})
}
