package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

const (
	// maxSwitches is how many of the last switches are shown.
	maxSwitches = 5
	// maxNameShown keeps a long name from pushing everything off the screen.
	maxNameShown = 24
	// clearScreen puts the cursor into the corner and forgets what is there (ECMA-48).
	clearScreen = "\x1b[H\x1b[2J\x1b[3J"
)

func showJSON(w io.Writer, body []byte, _ sight) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, indented.String())
	return err
}

func showLine(w io.Writer, body []byte, _ sight) error {
	_, err := fmt.Fprintf(w, "%s\n", body)
	return err
}

// showScreen replaces what is on a terminal, in one write so that it does not flicker.
func showScreen(w io.Writer, body []byte, s sight) error {
	var b bytes.Buffer
	b.WriteString(clearScreen)
	if err := showTable(&b, body, s); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// showTable writes for people. All ages are counted from the moment of the report, by the clock of the
// program.
func showTable(w io.Writer, _ []byte, s sight) error {
	var b bytes.Buffer
	r := s.report
	ready := "ready"
	if !r.Ready {
		ready = "NOT READY: no upstream can be used"
	}
	if r.Offline {
		ready = "NOT READY: this machine has no network"
	}
	fmt.Fprintf(&b, "%s is %s (%s, at %s, up %s)\n", printable(r.Version), ready, s.addr,
		r.At.Local().Format(time.TimeOnly), age(r.At.Sub(r.Started)))
	for _, f := range r.Flows {
		fmt.Fprintf(&b, "%s flows: %d open, %d in all\n", printable(f.Proto), f.Open, f.Total)
	}
	b.WriteByte('\n')
	writePaths(&b, s)
	writeErrors(&b, r)
	writeSwitches(&b, r)
	if c := r.Reload; !c.At.IsZero() {
		fmt.Fprintf(&b, "\nreloads: %d done, %d failed, the last %s ago", c.OK, c.Failed,
			age(r.At.Sub(c.At)))
		if c.Err != "" {
			fmt.Fprintf(&b, ": %s", printable(c.Err))
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writePaths writes a line for each path. The current one has a star.
func writePaths(w io.Writer, s sight) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	moved := "IN\tOUT"
	if s.before != nil {
		moved = "IN/S\tOUT/S"
	}
	const columns = "\tUPSTREAM\tPATH\tSTATE\tSCORE\tRTT\tPENALTY\tSTALE\tPROBED\tCARRIER\tSTANDBY\tFLOWS\t"
	fmt.Fprintln(table, columns+moved)
	for _, u := range s.report.Upstreams {
		for _, p := range u.Paths {
			star := ""
			if p.Current {
				star = "*"
			}
			in, out := s.moved(u.Name, p)
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n",
				star, nameOf(u.Name), printable(p.Proto), state(p, s.report.At),
				millis(p.Score), millis(p.RTT), millis(p.Penalty), millis(p.Stale),
				since(p.LastProbe, s.report.At), orDash(printable(p.Carrier)), p.Standby, p.Flows, in, out)
		}
	}
	_ = table.Flush() // into a buffer
}

// moved is what a path moved in all, or in a second since the report before.
func (s sight) moved(name string, p report.Path) (in, out string) {
	if s.before == nil {
		return amount(float64(p.Traffic.BytesIn)), amount(float64(p.Traffic.BytesOut))
	}
	took := s.report.At.Sub(s.before.At).Seconds()
	for _, u := range s.before.Upstreams {
		for _, q := range u.Paths {
			if u.Name == name && q.Proto == p.Proto && took > 0 {
				return amount(max(0, float64(p.Traffic.BytesIn)-float64(q.Traffic.BytesIn)) / took),
					amount(max(0, float64(p.Traffic.BytesOut)-float64(q.Traffic.BytesOut)) / took)
			}
		}
	}
	return "-", "-"
}

func writeErrors(w io.Writer, r *report.Report) {
	title := "\nlast errors\n"
	for _, u := range r.Upstreams {
		for _, p := range u.Paths {
			if p.LastError == "" {
				continue
			}
			fmt.Fprintf(w, "%s  %s ago  %s %s: %s\n", title, since(p.LastErrorAt, r.At),
				nameOf(u.Name), printable(p.Proto), printable(p.LastError))
			title = ""
		}
	}
}

// writeSwitches writes the last ones, newest first.
func writeSwitches(w io.Writer, r *report.Report) {
	title := "\nlast switches\n"
	for i := len(r.Decisions) - 1; i >= max(0, len(r.Decisions)-maxSwitches); i-- {
		d := r.Decisions[i]
		move := nameOf(d.To)
		if d.From != "" {
			scores := millis(d.FromScore) + " -> " + millis(d.ToScore)
			move = fmt.Sprintf("%s -> %s, score %s", nameOf(d.From), move, scores)
		}
		fmt.Fprintf(w, "%s  %s ago  %s %s: %s\n", title, since(d.At, r.At), printable(d.Proto), move,
			printable(d.Reason))
		title = ""
	}
}

// state says in a word or two how a path is.
func state(p report.Path, now time.Time) string {
	word := printable(p.State)
	switch {
	case p.Drained:
		word = "drained"
	case p.State == "up" && p.CoolUntil.After(now):
		word = "cooling " + age(p.CoolUntil.Sub(now))
	}
	if p.Preferred {
		word += ", preferred"
	}
	return word
}

// since is how long ago something was, if it ever was.
func since(then, now time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return age(now.Sub(then))
}

func age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func millis(s report.Seconds) string {
	switch {
	case s == 0:
		return "-"
	case s < 0.01:
		return fmt.Sprintf("%.1fms", float64(s)*1000)
	}
	return fmt.Sprintf("%.0fms", float64(s)*1000)
}

// amount is a number of bytes.
func amount(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if n < 999.5 {
			if n < 10 && unit != "B" {
				return fmt.Sprintf("%.1f%s", n, unit)
			}
			return fmt.Sprintf("%.0f%s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1fTB", n)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func nameOf(upstream string) string {
	name := []rune(printable(upstream))
	if len(name) > maxNameShown {
		return string(name[:maxNameShown-1]) + "…"
	}
	return string(name)
}

// printable keeps what servers have said from moving the cursor, or anything else that a terminal obeys.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
