package deploy

import (
	"strings"
	"testing"
)

// readService has systemd do what it does for a user who goes through the whole page.
func (p *Page) readService(t *testing.T) {
	p.Do(t, "CGO_ENABLED=0 go build -trimpath ./cmd/outline-cli-ws")
	withServer(t, p, "")
	t.Run("systemd", p.readSystemd)
	t.Run("docker", p.readDocker)
	t.Run("kubernetes", p.readKubernetes)
}

func (p *Page) readSystemd(t *testing.T) {
	r := p.reader
	r.Type(t, "systemctl start systemd-journald.service")
	p.Do(t, `install -m 755 outline-cli-ws /usr/local/bin/
install -D -m 644 deploy/systemd/sysusers.conf /etc/sysusers.d/outline-cli-ws.conf
systemd-sysusers
install -d -m 750 -g outline-config /etc/outline-cli-ws
install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/
install -m 644 deploy/systemd/outline-cli-ws.service /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now outline-cli-ws.service`)
	wantText(t, p.Do(t, "systemctl status outline-cli-ws"), "serving")
	wantText(t, p.Do(t, "journalctl -u outline-cli-ws"), started)
	wantCarried(t, r)
	r.Type(t, "echo 'relay: {idle_timeout: 2h}' >>config.yaml")
	p.Do(t, `install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/
systemctl reload outline-cli-ws.service`)
	r.WaitProperty(t, service, "StatusText", "configuration reloaded")

	config := r.Type(t, "cat config.yaml")
	const secret, file = `secret: "YOUR_SECRET"`, `secret_file: "${CREDENTIALS_DIRECTORY}/server-1"`
	r.Write(t, "config.yaml", strings.Replace(config, secret, file, 1))
	r.Write(t, "server-1.secret", "YOUR_SECRET\n")
	r.Type(t, "install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/")
	p.Do(t, `install -m 600 server-1.secret /etc/outline-cli-ws/
install -D -m 644 deploy/systemd/secrets.conf /etc/systemd/system/outline-cli-ws.service.d/secrets.conf
systemctl daemon-reload
systemctl restart outline-cli-ws.service`)
	wantCarried(t, r)
	p.Do(t, `install -m 644 deploy/systemd/outline-cli-ws.socket /etc/systemd/system/
systemctl daemon-reload
systemctl stop outline-cli-ws.service
systemctl enable --now outline-cli-ws.socket`)
	wantCarried(t, r)
	r.Type(t, "echo 'fwmark: 1' >>config.yaml\n"+
		"install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/")
	p.Do(t, "install -D -m 644 deploy/systemd/fwmark.conf "+
		`/etc/systemd/system/outline-cli-ws.service.d/fwmark.conf
systemctl daemon-reload
systemctl restart outline-cli-ws.service`)
	wantCarried(t, r)
	p.Do(t, "install -D -m 644 deploy/systemd/tun.conf "+
		`/etc/systemd/system/outline-cli-ws.service.d/tun.conf
systemctl daemon-reload
systemctl restart outline-cli-ws.service`)
	wantCarried(t, r)
	r.Type(t, "systemctl stop "+service+" "+socket)
}

// wantCarried wants the service to carry flows.
func wantCarried(t *testing.T, r *Reader) {
	t.Helper()
	wantPage(t, r.Type(t, "curl -x socks5h://127.0.0.1:1080 https://example.com"), "example.com")
}
