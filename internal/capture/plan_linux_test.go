package capture

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func plans() map[string]Options {
	full := Options{
		Device: "owtun0", Addr4: addr4Candidates()[0], Addr6: DefaultAddr6(), Mark: 123,
		Exclude: []netip.Prefix{
			netip.MustParsePrefix("203.0.113.9/24"), netip.MustParsePrefix("2001:db8::/32"),
			netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/4"),
			netip.MustParsePrefix("::ffff:198.51.100.7/128"),
			netip.MustParsePrefix("203.0.112.0/24"), netip.MustParsePrefix("203.0.113.128/25"),
			netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("2001:db9::/32"),
		},
		ExcludeUIDs: []UIDRange{{0, 0}, {1000, 1999}},
		DNS:         true, KillSwitch: true, Forward: true,
	}
	plain := Options{Device: "owtun0", Addr4: full.Addr4, Addr6: full.Addr6}
	usual, strict, only4 := plain, plain, plain
	usual.DNS, strict.Strict = true, true
	only4.Addr6 = netip.Prefix{}
	return map[string]Options{"usual": usual, "strict": strict, "full": full, "plain": plain, "only4": only4}
}

func text(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	for name, o := range plans() {
		t.Run(name, func(t *testing.T) {
			got, file := text(Plan(o)), filepath.Join("testdata", name+".plan")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the plan changed (-want +got):\n%s", diff)
			}
		})
	}
}

// Two rules with one priority must differ in what the kernel compares, or it takes the second for the first.
func TestRulesAreNotTakenForEachOther(t *testing.T) {
	for name, o := range plans() {
		seen := map[string]bool{}
		for _, s := range Plan(o) {
			r, ok := s.(Rule)
			if !ok {
				continue
			}
			r.NotIIF = false
			if seen[r.String()] {
				t.Errorf("%s: %v is there already", name, s)
			}
			seen[r.String()] = true
		}
	}
}

// The kernel has, in the words of ip(8) and nft(8), what the plan says, and nothing else.
func TestKernelHasThePlan(t *testing.T) {
	if !inLab(t) {
		return
	}
	sh(t, nil, "ip link set lo up")
	d := newDevice(t)
	all := plans()
	delete(all, "only4") // this host has IPv6
	for name, o := range all {
		t.Logf("plan %s", name)
		c, err := Apply(o)
		if err != nil {
			t.Fatal(err)
		}
		hasPlan(t, o)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	d.close()
}

// hasPlan compares with the kernel.
func hasPlan(t *testing.T, o Options) {
	t.Helper()
	var rules, routes, guard []string
	for _, s := range Plan(o) {
		switch s := s.(type) {
		case Rule:
			rules = append(rules, s.String())
		case Route:
			routes = append(routes, s.String())
		case Guard:
			guard = words(s.String())
		}
	}
	same(t, rules, rulesOf(t))
	same(t, routes, routesOf(t))
	var got []string
	if ruleset := sh(t, nil, "nft -y -u list ruleset"); ruleset != "" {
		// A long set has several lines.
		got = words(strings.ReplaceAll(ruleset, ",\n\t\t\t     ", ", "))
	}
	if diff := cmp.Diff(guard, got); diff != "" {
		t.Errorf("guard (-plan +kernel):\n%s", diff)
	}
}

// words are the lines that say something, without their indentation and what nft(8) adds.
func words(s string) []string {
	var lines []string
	for l := range strings.Lines(s) {
		l, _, _ = strings.Cut(l, " #")
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func same(t *testing.T, plan, kernel []string) {
	t.Helper()
	slices.Sort(plan)
	slices.Sort(kernel)
	if diff := cmp.Diff(plan, kernel); diff != "" {
		t.Errorf("(-plan +kernel):\n%s", diff)
	}
}

// rulesOf are our rules as the plan writes them.
func rulesOf(t *testing.T) []string {
	t.Helper()
	var rules []string
	for _, f := range []string{"-4", "-6"} {
		for l := range strings.Lines(sh(t, nil, "ip "+f+" rule")) {
			rule, ours := strings.CutSuffix(strings.TrimSpace(l), " proto 79")
			if !ours {
				continue
			}
			pref, rest, _ := strings.Cut(rule, ":\t")
			rest = strings.Replace(strings.Replace(rest, "not from all", "not", 1), "from all ", "", 1)
			rules = append(rules, f+" rule add pref "+pref+" "+hosts(rest))
		}
	}
	return rules
}

// hosts gives single addresses the length that ip(8) leaves out.
func hosts(s string) string {
	fields := strings.Fields(s)
	for i, f := range fields {
		if a, err := netip.ParseAddr(f); err == nil {
			fields[i] = netip.PrefixFrom(a, a.BitLen()).String()
		}
	}
	return strings.Join(fields, " ")
}

// routesOf are our routes as the plan writes them.
func routesOf(t *testing.T) []string {
	t.Helper()
	var routes []string
	everything := map[string]string{"-4": "0.0.0.0/0", "-6": "::/0"}
	for f, all := range everything {
		for l := range strings.Lines(sh(t, nil, "ip "+f+" route show table 20311")) {
			route, rest, ours := strings.Cut(strings.TrimSpace(l), " proto 79")
			if !ours {
				t.Errorf("not our route: %s", l)
			}
			if _, source, ok := strings.Cut(rest, "src "); ok {
				route += " src " + strings.Fields(source)[0]
			}
			route = strings.ReplaceAll(route, "default", all)
			if !strings.Contains(route, " src ") { // whose address has no length
				route = hosts(route)
			}
			if strings.HasPrefix(route, "throw") || strings.HasPrefix(route, "unreachable") {
				route = strings.TrimSuffix(route, " dev lo")
			}
			if strings.HasPrefix(route, "unreachable") && strings.Contains(rest, "metric 4294967295") {
				route += " metric 4294967295"
			}
			routes = append(routes, f+" route add "+route+" table 20311")
		}
	}
	return routes
}
