package deploy

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// readDocker has no engine: what one does is for TestImage, TestContainer and TestCompose.
func (p *Page) readDocker(t *testing.T) {
	r := p.reader
	p.askDocker(t, "cp examples/config.example.yaml config.yaml     # and put your server into it\n"+
		"docker compose up --build")
	p.Do(t, "chmod 600 config.yaml")
	p.Do(t, `echo "OUTLINE_USER=$(id -u):$(id -g)" > .env`)
	project := loadCompose(t, r.Path("."))
	client, ok := project.Services["client"]
	if !ok || client.User != "0:0" {
		t.Errorf("compose runs the client as %q, want root as here", client.User)
	}
	p.askDocker(t, "docker compose restart client")
	p.askDocker(t, "docker compose ps")
	status := "/outline-cli-ws status -c /etc/outline-cli-ws/config.yaml"
	p.askDocker(t, "docker compose exec client "+status)
	// This is the health check, which TestContainer runs.
	wantText(t, r.Type(t, "cat deploy/Dockerfile"), `CMD ["`+strings.ReplaceAll(status, " ", `", "`)+`"]`)
	p.askDocker(t, "docker build -f deploy/Dockerfile -t outline-cli-ws .")
}

// readKubernetes has no cluster. The names that the page uses are those of gateway.yaml, of which
// loadGateway reads the kinds.
func (p *Page) readKubernetes(t *testing.T) {
	g := loadGateway(t)
	p.askDocker(t, "docker build -f deploy/Dockerfile -t REGISTRY/outline-cli-ws:1 .")
	asked := p.ask(t, `cp deploy/kubernetes/config.example.yaml config.yaml
kubectl create secret generic outline-gateway --from-file=config.yaml
kubectl apply -f deploy/kubernetes/gateway.yaml
kubectl rollout status deployment/outline-gateway`)
	asked += p.ask(t, `kubectl create secret generic outline-gateway --from-file=config.yaml \
  --dry-run=client -o yaml | kubectl apply -f -
kubectl rollout restart deployment/outline-gateway`)
	secret := "create secret generic " + g.deployment.Spec.Template.Spec.Volumes[0].Secret.SecretName + " "
	deployment := "deployment/" + g.deployment.Name + "\n"
	for text, want := range map[string]int{"kubectl ": 6, secret: 2, deployment: 2} {
		if got := strings.Count(asked, text); got != want {
			t.Errorf("the page has %q %d times, want %d:\n%s", text, got, want, asked)
		}
	}
	if program, err := exec.LookPath("kubectl"); err == nil {
		wantSecret(t, p.reader, program, secret)
	}
}

// wantSecret has kubectl make what it sends to a cluster.
func wantSecret(t *testing.T, r *Reader, program, create string) {
	t.Helper()
	made := r.Type(t, program+" "+create+"--from-file=config.yaml --dry-run=client -o yaml")
	write(t, r.Path("secret.yaml"), made)
	secret, ok := decodeObjects(t, r.Path("secret.yaml"))[0].(*corev1.Secret)
	if !ok || string(secret.Data["config.yaml"]) != readPage(t, "deploy/kubernetes/config.example.yaml") {
		t.Errorf("kubectl makes\n%s\nwant a Secret with config.yaml", made)
	}
}

// askDocker wants docker to be asked for just what the page says, after the variables are filled in.
func (p *Page) askDocker(t *testing.T, commands string) {
	t.Helper()
	lines := strings.Split(commands, "\n")
	if asked, want := p.ask(t, commands), lines[len(lines)-1]+"\n"; asked != want {
		t.Errorf("%s\nasks for\n%s", commands, asked)
	}
}

// ask does what the page says with stand-ins for docker and kubectl, and returns what these are asked for.
func (p *Page) ask(t *testing.T, commands string) string {
	t.Helper()
	file := p.reader.Share + "/asked"
	write(t, file, "")
	p.Do(t, commands)
	asked, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(asked)
}
