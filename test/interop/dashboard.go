package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// dashboardFile is the one that people import; the others are copies of it.
const dashboardFile = "../../examples/outlinews_grafana_dashboard_plain.json"

// Dashboard is what has to do with expressions of Grafana's format.
type Dashboard struct {
	Panels     []Panel
	Templating struct{ List []Variable }
}

// Panel is a panel, or the title of a section.
type Panel struct {
	Title   string
	Targets []struct{ Expr, LegendFormat string }
}

// Variable is what can be chosen at the top of the dashboard.
type Variable struct {
	Name, Type, Definition string
	// AllValue stands for all values, in place of an alternative of them.
	AllValue string
}

// LoadDashboard reads the dashboard.
func LoadDashboard(t *testing.T) (d Dashboard) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, dashboardFile), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Expression is one query of a panel.
type Expression struct {
	Panel, Text, legend string
}

func (e Expression) String() string { return e.Panel + ": " + e.Text }

// Expressions are those of all panels, with a choice filled in.
func (d Dashboard) Expressions(choice Choice) (all []Expression) {
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			all = append(all, Expression{panel.Title, choice.Fill(target.Expr), target.LegendFormat})
		}
	}
	return all
}

// Legend is what the panel calls a sample.
func (e Expression) Legend(s Sample) string {
	return regexp.MustCompile(`{{\w+}}`).ReplaceAllStringFunc(e.legend, func(label string) string {
		if value, ok := s.Labels[label[2:len(label)-2]]; ok {
			return value
		}
		return label // which no sample is to be called
	})
}

// Choice is what stands for each variable in expressions.
type Choice map[string]string

// Choose fills the variables as Grafana does: with what somebody chose, or with all that there is. A variable
// may depend on those before it. Choices are texts, not yet expressions.
func (d Dashboard) Choose(ctx context.Context, p Prometheus, chosen Choice) (Choice, error) {
	choice := Choice{"__rate_interval": rateInterval.String()}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		label, match, err := v.query()
		if err != nil {
			return nil, err
		}
		values, err := p.LabelValues(ctx, label, choice.Fill(match))
		if err != nil {
			return nil, err
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("variable %s: %s has no values", v.Name, v.Definition)
		}
		switch {
		case chosen[v.Name] != "":
			choice[v.Name] = escaped(chosen[v.Name])
		case v.AllValue != "":
			choice[v.Name] = v.AllValue
		default:
			for i := range values {
				values[i] = escaped(values[i])
			}
			choice[v.Name] = "(" + strings.Join(values, "|") + ")"
		}
	}
	return choice, nil
}

// query takes label_values(match, label) apart.
func (v Variable) query() (label, match string, err error) {
	parts := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition)
	if parts == nil {
		return "", "", fmt.Errorf("variable %s: %q is not label_values(series, label)", v.Name, v.Definition)
	}
	return parts[2], parts[1], nil
}

// Fill puts the choice into an expression.
func (c Choice) Fill(expr string) string {
	return regexp.MustCompile(`\$\w+`).ReplaceAllStringFunc(expr, func(name string) string {
		if value, ok := c[name[1:]]; ok {
			return value
		}
		return name // Prometheus refuses it
	})
}

// rateInterval is Grafana's $__rate_interval of a panel without a coarser step: four scrapes.
const rateInterval = 4 * ScrapeInterval

// escaped is a value inside a regular expression inside a string.
func escaped(value string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(value), `\`, `\\`)
}

// Compared is an alert's expression that gives 0 or 1 where it would give nothing or a value. So a silent
// alert can be told from one that has nothing to look at.
func Compared(expr string) string {
	return regexp.MustCompile(` (==|!=|<=|>=|<|>) `).ReplaceAllString(expr, " $1 bool ")
}
