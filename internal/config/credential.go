package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// variableName is what ${NAME} may name.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variable returns the value of the environment variable with that name. No error shows the name: in the
// wrong place it may be a piece of a secret.
func variable(name string) (string, error) {
	if !variableName.MatchString(name) {
		return "", wrong("want ${NAME} with a name of letters, digits and _")
	}
	value, ok := os.LookupEnv(name)
	switch {
	case !ok:
		return "", wrong("the environment variable that it names is not set")
	case value == "":
		return "", wrong("the environment variable that it names is empty")
	}
	return value, nil
}

// expanded returns the value of the variable where the whole of s is ${NAME}, and s where it is not.
func expanded(s string) (string, error) {
	inner, begins := strings.CutPrefix(s, "${")
	name, ends := strings.CutSuffix(inner, "}")
	if !begins || !ends {
		return s, nil
	}
	return variable(name)
}

// secret is a text of at most most bytes that is not to be seen, or ${NAME} for that of the environment.
func secret(into *Secret, most int) field {
	return scalar[Secret]{into, "text", func(s string) (Secret, error) {
		s, err := expanded(s)
		if err != nil {
			return Secret{}, err
		}
		if len(s) > most {
			return Secret{}, wrong("is longer than %d bytes", most)
		}
		return NewSecret(s), nil
	}}
}

// credential is the name of a file that holds the secret of an upstream.
type credential struct{ into *Upstream }

func (c credential) decode(d *decoder, at place, n *yaml.Node) {
	path, ok := scalar[string]{want: wantFile, parse: d.parseSecretPath}.read(d, at, n)
	if !ok || path == "" {
		return
	}
	text, err := readSecret(path)
	if err != nil {
		d.problem(at, "%v", err)
		return
	}
	c.into.SecretFile, c.into.Secret = path, text
}

// parseSecretPath makes the path of a secret ready to open. One that begins with ${NAME}/ starts at the
// folder that the variable names: systemd says in CREDENTIALS_DIRECTORY where it puts what LoadCredential
// asks for.
func (d *decoder) parseSecretPath(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	inner, begins := strings.CutPrefix(s, "${")
	if !begins {
		return d.beside(s), nil
	}
	name, rest, ok := strings.Cut(inner, "}/")
	if !ok || rest == "" {
		return "", wrong("want ${NAME}/ with the name of a file behind it")
	}
	folder, err := variable(name)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(folder) {
		return "", wrong("the environment variable that it names holds no absolute path")
	}
	return filepath.Join(folder, rest), nil
}

// readSecret reads a file with one line, whose end does not count. No error shows the path or the content.
func readSecret(path string) (Secret, error) {
	data, err := readRegular(path, maxText)
	if err != nil {
		return Secret{}, unreadable(err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case text == "":
		return Secret{}, wrong("the file is empty")
	case hasMark(text):
		return Secret{}, wrong("the file begins with a byte order mark; save it as UTF-8 without one")
	case strings.ContainsAny(text, "\r\n"):
		return Secret{}, wrong("the file holds more than one line")
	}
	return NewSecret(text), nil
}

// hasMark reports whether a text begins with a byte order mark, of UTF-8 or UTF-16.
func hasMark(text string) bool {
	return slices.ContainsFunc([]string{"\uFEFF", "\xFF\xFE", "\xFE\xFF"}, func(mark string) bool {
		return strings.HasPrefix(text, mark)
	})
}
