package grafana_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The dashboard is written once, and copied to where Grafana wants it otherwise.
const (
	sourceFile      = "../../examples/outlinews_grafana_dashboard_plain.json"
	apiFile         = "../../examples/outlinews_grafana_dashboard_api.json"
	provisionedFile = "dashboards/outlinews.json"
	alertsFile      = "../prometheus/alerts.yml"
	metricsDoc      = "../../docs/metrics.md"
)

var update = flag.Bool("update", false, "copy the dashboard to its other two files")

type dashboard struct {
	ID            any     `json:"id"`
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type variable struct {
	Name       string `json:"name"`
	Definition string `json:"definition"`
}

type panel struct {
	ID          int        `json:"id"`
	Title       string     `json:"title"`
	Type        string     `json:"type"`
	Description string     `json:"description"`
	Datasource  datasource `json:"datasource"`
	GridPos     rectangle  `json:"gridPos"`
	Targets     []target   `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type rectangle struct{ X, Y, W, H int }

func (r rectangle) overlaps(other rectangle) bool {
	return r.X < other.X+other.W && other.X < r.X+r.W && r.Y < other.Y+other.H && other.Y < r.Y+r.H
}

type target struct {
	Datasource datasource `json:"datasource"`
	Expr       string     `json:"expr"`
}

// TestCopies keeps the three files the same.
func TestCopies(t *testing.T) {
	source := readFile(t, sourceFile)
	if *update {
		writeFile(t, provisionedFile, source)
		writeFile(t, apiFile, apiBody(source))
	}
	if !bytes.Equal(readFile(t, provisionedFile), source) {
		t.Errorf("deploy/grafana/%s differs from %s: run this test with -update", provisionedFile, sourceFile)
	}
	var want, got any
	decode(t, apiFile, apiBody(source), &want)
	decode(t, apiFile, readFile(t, apiFile), &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s does not wrap %s: run this test with -update", apiFile, sourceFile)
	}
}

// apiBody is the body of POST /api/dashboards/db.
func apiBody(dashboard []byte) []byte {
	return fmt.Appendf(nil, `{
"folderId": 0,
"overwrite": true,
"message": "outline-cli-ws",
"dashboard": %s}
`, dashboard)
}

func TestDashboard(t *testing.T) {
	d := load(t)
	if d.UID != "outlinews-monitoring" {
		t.Errorf("uid = %q", d.UID)
	}
	if d.ID != nil || d.SchemaVersion < 39 {
		t.Errorf("id = %v and schemaVersion = %d, want none and 39 at least", d.ID, d.SchemaVersion)
	}
	var sections, variables []string
	for _, p := range d.Panels {
		if p.Type == "row" {
			sections = append(sections, p.Title)
		}
	}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	wantSections := []string{
		"Fleet overview", "Upstream load", "TUN load", "SOCKS5 load", "Probe health", "Go runtime",
	}
	if !slices.Equal(sections, wantSections) {
		t.Errorf("sections = %q, want %q", sections, wantSections)
	}
	if want := []string{"datasource", "instance", "upstream", "proto"}; !slices.Equal(variables, want) {
		t.Errorf("variables = %q, want %q", variables, want)
	}
}

func TestPanels(t *testing.T) {
	ids := make(map[int]bool)
	var placed []panel
	for _, p := range load(t).Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, other := range placed {
			if p.Title == other.Title {
				t.Errorf("two panels are called %s", p.Title)
			}
			if p.GridPos.overlaps(other.GridPos) {
				t.Errorf("%s lies over %s", p.Title, other.Title)
			}
		}
		placed = append(placed, p)
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s is too wide: %+v", p.Title, p.GridPos)
		}
		if p.Type != "row" {
			checkPanel(t, p)
		}
	}
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	chosen := datasource{"prometheus", "${datasource}"}
	if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
		t.Errorf("panel %d (%s) has no title, description, unit or expression", p.ID, p.Title)
	}
	if p.Datasource != chosen {
		t.Errorf("%s: datasource = %v, want the chosen one", p.Title, p.Datasource)
	}
	for _, target := range p.Targets {
		if target.Datasource != chosen {
			t.Errorf("%s: datasource of %s = %v", p.Title, target.Expr, target.Datasource)
		}
		if !strings.Contains(target.Expr, `instance=~"$instance"`) {
			t.Errorf("%s: %s ignores the chosen instances", p.Title, target.Expr)
		}
	}
}

// TestAlerts wants every alert to say what to do.
func TestAlerts(t *testing.T) {
	doc := string(readFile(t, metricsDoc))
	for _, alert := range alerts(t) {
		if len(alert.Annotations["summary"]) == 0 || len(alert.Annotations["description"]) < 100 {
			t.Errorf("%s does not say what to do: %v", alert.Name, alert.Annotations)
		}
		if alert.Labels["severity"] == "" {
			t.Errorf("%s has no severity", alert.Name)
		}
		if !strings.Contains(doc, "\n| `"+alert.Name+"` |") {
			t.Errorf("docs/metrics.md does not mention %s", alert.Name)
		}
	}
}

// TestMetricNames wants every metric that is asked for to be in docs/metrics.md, and, of ours, the reverse.
func TestMetricNames(t *testing.T) {
	documented := documentedMetrics(t)
	used := make(map[string]bool)
	for where, expr := range expressions(t) {
		for _, name := range regexp.MustCompile(`\boutlinews_\w+`).FindAllString(expr, -1) {
			if base := histogramOf(name); documented[base] == "histogram" {
				name = base
			}
			used[name] = true
			if documented[name] == "" {
				t.Errorf("%s: docs/metrics.md does not have %s", where, name)
			}
		}
	}
	for name := range documented {
		if !used[name] {
			t.Errorf("no panel and no alert uses %s", name)
		}
	}
}

// histogramOf cuts what a histogram's series have behind its name.
func histogramOf(name string) string {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base
		}
	}
	return name
}

// documentedMetrics are the types by name.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	types := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| `(outlinews_\\w+)` \\| (counter|gauge|histogram) \\|")
	for _, match := range row.FindAllStringSubmatch(string(readFile(t, metricsDoc)), -1) {
		types[match[1]] = match[2]
	}
	if len(types) < 20 {
		t.Fatalf("docs/metrics.md has %d metrics, want more", len(types))
	}
	return types
}

// expressions are all of the dashboard and the alerts, by what they belong to.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	d := load(t)
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %d (%s), expression %d", p.ID, p.Title, i)] = target.Expr
		}
	}
	for _, v := range d.Templating.List {
		all["variable "+v.Name] = v.Definition
	}
	for _, alert := range alerts(t) {
		all["alert "+alert.Name] = alert.Expr
	}
	return all
}

type alert struct {
	Name        string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(readFile(t, alertsFile), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no alerts", alertsFile)
	}
	return all
}

func load(t *testing.T) (d dashboard) {
	t.Helper()
	decode(t, sourceFile, readFile(t, sourceFile), &d)
	return d
}

func decode(t *testing.T, name string, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
