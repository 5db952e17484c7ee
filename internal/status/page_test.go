package status

import (
	"regexp"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	h := newHandler(new(program))
	w := request{path: "/", client: "192.0.2.7:5000", auth: "none"}.send(h)
	kind := w.Header().Get("Content-Type")
	if w.Code != 200 || kind != "text/html; charset=utf-8" || w.Body.String() != pageSource {
		t.Errorf("%d %s, %d bytes", w.Code, kind, w.Body.Len())
	}
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'",
		"form-action 'none'", "base-uri 'none'", "require-trusted-types-for 'script'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy: %s", policy)
	}
	checkHeaders(t, w.Header())
	if w := (request{path: "/", host: "evil.example"}).send(h); w.Code != 403 {
		t.Errorf("under a name that was pointed here: %d", w.Code)
	}
	if w := (request{path: "/", method: "POST"}).send(h); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestPageIsOneFile finds whatever would need another one, and what the policy would stop silently.
func TestPageIsOneFile(t *testing.T) {
	for _, element := range []string{"script", "style"} {
		if n := strings.Count(pageSource, "<"+element); n != 1 {
			t.Errorf("%d elements %s, want one", n, element)
		}
	}
	if n := len(pageSource); n > 32<<10 {
		t.Errorf("the page has %d bytes", n)
	}
	for _, bad := range []string{
		`(src|href)="[^d]`, `url\(`, `@import`, `\bimport\b`, ` on[a-z]+="`, ` style="`,
		`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc|DOMParser`,
		`\beval\(|new Function|setTimeout\("`,
	} {
		if found := regexp.MustCompile(bad).FindString(pageSource); found != "" {
			t.Errorf("the page has %s", found)
		}
	}
	links := regexp.MustCompile(`https?:[^"']*`).FindAllString(pageSource, -1)
	for _, link := range links {
		if link != "http://www.w3.org/2000/svg" { // the name of SVG
			t.Errorf("the page has %s", link)
		}
	}
}
