package status

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// keysOf lists the JSON keys of t and of everything in it.
func keysOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Slice:
		return keysOf(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	if t == reflect.TypeFor[time.Time]() {
		return nil
	}
	var keys []string
	for field := range t.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys = append(append(keys, key), keysOf(field.Type)...)
	}
	return keys
}

func TestDocsMentionEveryKeyAndCall(t *testing.T) {
	text, err := os.ReadFile("../../docs/status.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(text)
	keys := keysOf(reflect.TypeFor[report.Report]())
	if len(keys) < 40 {
		t.Errorf("only %d keys", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(docs, "`"+key+"`") {
			t.Errorf("docs/status.md does not mention `%s`", key)
		}
	}
	for _, call := range []string{
		"GET /healthz", "GET /readyz", "GET /api/v1/status", "POST /api/v1/upstreams/NAME/select",
		"POST /api/v1/upstreams/NAME/drain", "POST /api/v1/upstreams/NAME/enable",
		"POST /api/v1/upstreams/NAME/probe", "POST /api/v1/reload", "GET /",
	} {
		if !strings.Contains(docs, "`"+call+"`") {
			t.Errorf("docs/status.md does not mention `%s`", call)
		}
	}
}
