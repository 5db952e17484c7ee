package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const manifests = repository + "/deploy/kubernetes"

// gateway is what gateway.yaml describes.
type gateway struct {
	deployment *appsv1.Deployment
	budget     *policyv1.PodDisruptionBudget
	service    *corev1.Service
	policy     *networkingv1.NetworkPolicy
}

// loadGateway reads the file by the schema of its kinds: a field that a kind does not have is an error.
func loadGateway(t *testing.T) (g gateway) {
	t.Helper()
	for _, object := range decodeObjects(t, manifests+"/gateway.yaml") {
		switch o := object.(type) {
		case *appsv1.Deployment:
			g.deployment = o
		case *policyv1.PodDisruptionBudget:
			g.budget = o
		case *corev1.Service:
			g.service = o
		case *networkingv1.NetworkPolicy:
			g.policy = o
		default:
			t.Errorf("unexpected %T", o)
		}
	}
	return g
}

func decodeObjects(t *testing.T, path string) (objects []runtime.Object) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	options := json.SerializerOptions{Yaml: true, Strict: true}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, options)
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	buf := make([]byte, len(text))
	for {
		n, err := documents.Read(buf)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := strict.Decode(buf[:n], nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
}
