package deploy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// TestContainer runs the service client of docker-compose.yml, with the example configuration.
func TestContainer(t *testing.T) {
	inNetwork(t, testContainer)
}

func testContainer(t *testing.T) {
	need(t, "nsenter", "chroot", "sleep")
	folder := exampleCopied(t)
	client := loadCompose(t, folder).Services["client"]
	image := BuildImage(t, folder, client.Build.Dockerfile)
	c := NewContainer(t, image, client.User)
	s, target := behindWire(t)
	// The authority of the test is one of those that the image has.
	appendTo(t, filepath.Join(image.Root, "etc/ssl/certs/ca-certificates.crt"), s.CAPEM())
	useServer(t, filepath.Join(folder, "config.yaml"), s)
	for _, v := range client.Volumes {
		c.Mount(t, v.Source, v.Target)
	}
	c.Start(t, append(slices.Clone(image.Entrypoint), client.Command...)...)
	published := fmt.Sprint(containerAddr, ":", client.Ports[0].Target)
	within(t, "published port", func() error {
		conn, err := net.Dial("tcp", published)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	if err := flow(published, target.Addr()); err != nil {
		t.Error(err)
	}
	if at, err := lookUp(published, "1.1.1.1:53"); err != nil || at.Addr().String() != containerAddr {
		t.Errorf("association at %v: %v, want it at the address of the container", at, err)
	}
	within(t, "health check", func() error {
		output, err := c.Exec(image.Health...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	})
	wantMetrics(t, "http://"+containerAddr+":9100/metrics")
}

// behindWire is a server that the container can reach, and a target of flows. The targets of the example's
// probes are there too.
func behindWire(t *testing.T) (*outlinetest.Server, *outlinetest.Target) {
	t.Helper()
	start := func(target *outlinetest.Target, err error) *outlinetest.Target {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = target.Close() })
		return target
	}
	s, err := outlinetest.Start(outlinetest.Config{Addr: hostAddr + ":0", Hosts: map[string]string{
		"example.com:80": start(outlinetest.StartHTTP("")).Addr(),
		"1.1.1.1:53":     start(outlinetest.StartDNS("")).Addr(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, start(outlinetest.StartEcho(""))
}

// useServer puts a server into a copy of the example, as its user does.
func useServer(t *testing.T, path string, s *outlinetest.Server) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"tcp_wss": s.StreamURL(), "udp_wss": s.PacketURL(), "cipher": s.Cipher(), "secret": s.Secret(),
	} {
		line := regexp.MustCompile(`(?m)^    ` + key + `: ".*?"`)
		if !line.Match(text) {
			t.Fatalf("the example has no %s", key)
		}
		text = line.ReplaceAllLiteral(text, []byte("    "+key+`: "`+value+`"`))
	}
	const secret = "    secret:"
	write(t, path, strings.Replace(string(text), secret, "    tls: {server_name: localhost}\n"+secret, 1))
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(before)+string(data))
}

func wantMetrics(t *testing.T, url string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(text), "outlinews_ready ") {
		t.Errorf("%s: %v\n%s", url, err, text)
	}
}
