package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ScrapeInterval is how often the suite's Prometheus reads metrics: often, for the sake of the suite.
const ScrapeInterval = time.Second

// prometheusFolder has the configuration that people run.
const prometheusFolder = "../../deploy/prometheus"

// Prometheus is a running server with the configuration and the alerts of deploy/prometheus.
type Prometheus struct {
	*Process

	addr string
}

// StartPrometheus starts a server that scrapes targets. All that differs from deploy/prometheus is whom it
// scrapes, and how often.
func StartPrometheus(t *testing.T, host netip.Addr, targets ...string) Prometheus {
	t.Helper()
	Require(t, "prometheus")
	dir := t.TempDir()
	config := string(readFile(t, filepath.Join(prometheusFolder, "prometheus.yml")))
	for old, replacement := range map[string]string{
		`"client:9100"`:            `"` + strings.Join(targets, `", "`) + `"`,
		"scrape_interval: 15s":     "scrape_interval: " + ScrapeInterval.String(),
		"evaluation_interval: 15s": "evaluation_interval: " + ScrapeInterval.String(),
	} {
		if strings.Count(config, old) != 1 {
			t.Fatalf("%s/prometheus.yml does not have one %q", prometheusFolder, old)
		}
		config = strings.Replace(config, old, replacement, 1)
	}
	path := writeFile(t, filepath.Join(dir, "prometheus.yml"), []byte(config))
	writeFile(t, filepath.Join(dir, "alerts.yml"), readFile(t, filepath.Join(prometheusFolder, "alerts.yml")))

	p := Prometheus{addr: freeAddr(t, host)}
	p.Process = StartProcess(t, exec.Command("prometheus", "--config.file="+path, "--log.level=warn",
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr))
	p.WaitFor(t, "be ready", func(ctx context.Context) error { return p.get(ctx, "/-/ready", nil, nil) })
	return p
}

// Sample is one element of a result. Its value may be NaN.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression now.
func (p Prometheus) Query(ctx context.Context, expr string) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  [2]any // time, and the value as text
		}
	}
	if err := p.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	if data.ResultType != "vector" {
		return nil, fmt.Errorf("%s is a %s, want a vector", expr, data.ResultType)
	}
	samples := make([]Sample, 0, len(data.Result))
	for _, element := range data.Result {
		text, _ := element.Value[1].(string) // no text is no number
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, Sample{element.Metric, value})
	}
	return samples, nil
}

// LabelValues are the values of a label in the series that match.
func (p Prometheus) LabelValues(ctx context.Context, label, match string) (values []string, err error) {
	err = p.get(ctx, "/api/v1/label/"+label+"/values", url.Values{"match[]": {match}}, &values)
	return values, err
}

// Rule is one alert of alerts.yml.
type Rule struct {
	Name, Query, Health, LastError string
}

// Rules are the alerts that are loaded.
func (p Prometheus) Rules(ctx context.Context) (rules []Rule, err error) {
	var data struct{ Groups []struct{ Rules []Rule } }
	err = p.get(ctx, "/api/v1/rules", nil, &data)
	for _, group := range data.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, err
}

// Alert is one that fires, or will when its condition lasts.
type Alert struct {
	Labels, Annotations map[string]string
	State               string
}

// Has says whether the alert has all of these labels.
func (a Alert) Has(labels map[string]string) bool {
	for label, value := range labels {
		if a.Labels[label] != value {
			return false
		}
	}
	return true
}

func (a Alert) String() string {
	var text strings.Builder
	for _, label := range slices.Sorted(maps.Keys(a.Labels)) {
		fmt.Fprintf(&text, "%s=%s ", label, a.Labels[label])
	}
	return text.String() + a.State + ": " + a.Annotations["summary"]
}

// Alerts are those whose condition is true.
func (p Prometheus) Alerts(ctx context.Context) ([]Alert, error) {
	var data struct{ Alerts []Alert }
	err := p.get(ctx, "/api/v1/alerts", nil, &data)
	return data.Alerts, err
}

// get asks the HTTP API. A nil into takes no answer but success.
func (p Prometheus) get(ctx context.Context, path string, parameters url.Values, into any) error {
	address := url.URL{Scheme: "http", Host: p.addr, Path: path, RawQuery: parameters.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if into == nil {
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, response.Status)
		}
		return nil
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s %s: %s", path, parameters.Encode(), answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}
