package deploy

import (
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/outline-cli-ws/outline-cli-ws/internal/app"
)

// TestGatewaySelects has every object mean the same pods.
func TestGatewaySelects(t *testing.T) {
	g := loadGateway(t)
	pods := labels.Set(g.deployment.Spec.Template.Labels)
	for what, selector := range map[string]*metav1.LabelSelector{
		"Deployment":          g.deployment.Spec.Selector,
		"PodDisruptionBudget": g.budget.Spec.Selector,
		"Service":             {MatchLabels: g.service.Spec.Selector},
		"NetworkPolicy":       &g.policy.Spec.PodSelector,
		"TopologySpread":      g.deployment.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector,
	} {
		selects, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil || selects.Empty() || !selects.Matches(pods) {
			t.Errorf("%s selects %v, %v, want the pods with %v", what, selects, err, pods)
		}
	}
}

// TestGatewayPorts has every port that is named be one of the container, on which the program listens.
func TestGatewayPorts(t *testing.T) {
	g := loadGateway(t)
	c := g.deployment.Spec.Template.Spec.Containers[0]
	ports := make(map[string]string)
	for _, p := range c.Ports {
		ports[p.Name] = strconv.Itoa(int(p.ContainerPort))
	}
	var named []intstr.IntOrString
	for _, rule := range g.policy.Spec.Ingress {
		named = append(named, *rule.Ports[0].Port)
	}
	for _, p := range g.service.Spec.Ports {
		named = append(named, p.TargetPort)
	}
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		named = append(named, probe.HTTPGet.Port)
	}
	for _, name := range named {
		if ports[name.String()] == "" {
			t.Errorf("port %s is none of %v", name.String(), ports)
		}
	}
	file, err := app.LoadConfig(manifests + "/config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	listens := map[string]string{
		"socks": file.Listen.SOCKS5[0], "metrics": file.Metrics.Listen, "status": file.Status.Listen,
	}
	if scraped := g.deployment.Spec.Template.Annotations["prometheus.io/port"]; scraped != ports["metrics"] {
		t.Errorf("port %s is scraped, the metrics are at %s", scraped, ports["metrics"])
	}
	if !slices.Equal(slices.Sorted(maps.Keys(ports)), slices.Sorted(maps.Keys(listens))) {
		t.Errorf("ports %v, the file listens on %v", ports, listens)
	}
	for name, addr := range listens {
		if want := net.JoinHostPort("0.0.0.0", ports[name]); addr != want {
			t.Errorf("%s: the file listens on %s, want %s", name, addr, want)
		}
	}
}

// TestGatewayStays has what keeps it running.
func TestGatewayStays(t *testing.T) {
	g := loadGateway(t)
	pod := g.deployment.Spec.Template.Spec
	c := pod.Containers[0]
	available, replicas := g.budget.Spec.MinAvailable.IntValue(), int(*g.deployment.Spec.Replicas)
	if available < 1 || available >= replicas {
		t.Errorf("%d of %d must be available", available, replicas)
	}
	const drain = 10
	grace, least := *pod.TerminationGracePeriodSeconds, c.Lifecycle.PreStop.Sleep.Seconds+drain
	if grace <= least {
		t.Errorf("terminationGracePeriodSeconds = %d, want more than %d", grace, least)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Limits.Cpu().IsZero() {
		t.Error("no limits")
	}
	file, mount := path.Join(c.VolumeMounts[0].MountPath, "config.yaml"), c.VolumeMounts[0].Name
	if !slices.Contains(c.Args, file) || pod.Volumes[0].Name != mount {
		t.Errorf("%v does not read %s", c.Args, file)
	}
}

// TestGatewayRights has what keeps it from more than it needs.
func TestGatewayRights(t *testing.T) {
	pod := loadGateway(t).deployment.Spec.Template.Spec
	own, all := pod.Containers[0].SecurityContext, pod.SecurityContext
	if !*all.RunAsNonRoot || *own.AllowPrivilegeEscalation || !*own.ReadOnlyRootFilesystem {
		t.Error("it may be root, become it, or write to its files")
	}
	if !slices.Equal(own.Capabilities.Drop, []corev1.Capability{"ALL"}) || *pod.AutomountServiceAccountToken {
		t.Error("it has capabilities, or the account of the pod")
	}
	image := BuildImage(t, clone(t), dockerfile)
	if user := strconv.FormatInt(*all.RunAsUser, 10); !strings.HasPrefix(image.User, user+":") {
		t.Errorf("runAsUser = %s, the image has %s", user, image.User)
	}
}
