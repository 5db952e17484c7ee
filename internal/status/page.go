package status

import (
	"crypto/sha256"
	_ "embed" // of the page
	"encoding/base64"
	"net/http"
	"strings"
)

// pageSource is the page: one file that fetches nothing but the report.
//
//go:embed page.html
var pageSource string

// pagePolicy is the Content-Security-Policy of the page: its own script and style, known by their hashes, and
// nothing else. No text can become a script, even by a mistake in ours.
func pagePolicy() string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + hashOf("script"),
		"style-src " + hashOf("style"),
		"connect-src 'self'",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
}

// hashOf is the hash of the one element of that name, as policies write it.
func hashOf(element string) string {
	_, text, _ := strings.Cut(pageSource, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page answers everybody who knows where this machine is: it has nothing in it that is not in the source.
func (a *api) page() http.HandlerFunc {
	policy := pagePolicy()
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.guard.knows(r.Host) {
			foreignHost.write(w)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		write(w, http.StatusOK, "text/html; charset=utf-8", pageSource)
	}
}
