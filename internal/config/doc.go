// Package config is the YAML file of the program: strict decode over [Default], validation, redaction.
//
// [Load] reads a file, [Parse] reads bytes. Both report every mistake at once, as [Errors], each with file,
// line, key and, where there is one, a suggestion. What the file promises its users is written in
// docs/config.md; the schema itself is the tables in sections.go.
//
// Secrets, passwords, header values and the paths of URLs are [Secret] and [URL] values, which no verb of
// fmt, no slog handler and no encoder prints. No error of this package quotes a value of the file.
//
// The package imports none of ours: what a URL or a cipher may be is asked from the caller through [Checks].
package config
