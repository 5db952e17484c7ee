package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// upstreamWith is a file with one upstream that has these lines about its secret.
func upstreamWith(lines ...string) string {
	return "upstreams:\n  - tcp_wss: wss://example.com/p\n    cipher: aes-256-gcm\n    " +
		strings.Join(lines, "\n    ") + "\n"
}

func TestSecretsOfTheEnvironment(t *testing.T) {
	t.Setenv("SERVER_1", "s3cret value")
	t.Setenv("TOKEN", goodToken)
	c := parse(t, "listen: {socks5_users: [{username: a, password: '${SERVER_1}'}]}\n"+
		"status: {token: '${TOKEN}'}\n"+upstreamWith("secret: ${SERVER_1}"))
	if got := c.Status.Token.Reveal(); got != goodToken {
		t.Errorf("token = %q, want %q", got, goodToken)
	}
	for what, got := range map[string]Secret{
		"secret": c.Upstreams[0].Secret, "password": c.Listen.SOCKS5Users[0].Password,
	} {
		if got.Reveal() != "s3cret value" {
			t.Errorf("%s = %q, want the variable's value", what, got.Reveal())
		}
	}
}

func TestWhatIsNoVariable(t *testing.T) {
	t.Setenv("NAME", "value")
	for _, text := range []string{"$NAME", "a${NAME}", "${NAME}b", "${NAME", "$${NAME}", "NAME}"} {
		c := parse(t, upstreamWith(fmt.Sprintf("secret: '%s'", text)))
		if got := c.Upstreams[0].Secret.Reveal(); got != text {
			t.Errorf("secret %s = %q, want it as it stands", text, got)
		}
	}
}

func TestMistakesWithVariables(t *testing.T) {
	t.Setenv("EMPTY", "")
	t.Setenv("LONG", strings.Repeat("x", maxText+1))
	for name, want := range map[string]string{
		"hunter2":     "the environment variable that it names is not set",
		"EMPTY":       "the environment variable that it names is empty",
		"LONG":        "is longer than 4096 bytes",
		"":            "want ${NAME} with a name of letters, digits and _",
		"NAME:-other": "want ${NAME} with a name of letters, digits and _",
		"1":           "want ${NAME} with a name of letters, digits and _",
	} {
		_, err := Parse("c.yaml", []byte(upstreamWith("secret: '${"+name+"}'")), Checks{})
		wantText(t, err, "c.yaml:4: upstreams[0].secret: "+want)
	}
	t.Setenv("LONG", strings.Repeat("x", maxCredential+1))
	_, err := Parse("c.yaml", []byte("listen: {socks5_users: [{username: a, password: '${LONG}'}]}\n"+
		upstreamWith("secret: s")), Checks{})
	wantText(t, err, "c.yaml:1: listen.socks5_users[0].password: is longer than 255 bytes")
}

func TestSecretFile(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	for content, want := range map[string]string{
		"word": "word", "word\n": "word", "word\r\n": "word", " two words ": " two words ",
	} {
		file := filepath.Join(folder, "server-1")
		write(t, file, []byte(content))
		for _, path := range []string{"server-1", file, "${CREDENTIALS_DIRECTORY}/server-1"} {
			text := upstreamWith("secret_file: '" + path + "'")
			c, err := Parse(filepath.Join(folder, "c.yaml"), []byte(text), Checks{})
			if err != nil {
				t.Fatal(err)
			}
			u := c.Upstreams[0]
			if u.Secret.Reveal() != want || u.SecretFile != file {
				t.Errorf("%s with %q = %q from %s, want %q from %s", path, content, u.Secret.Reveal(),
					u.SecretFile, want, file)
			}
		}
	}
}

func TestMistakesWithSecretFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("RELATIVE", "here")
	for name, content := range map[string]string{
		"empty": "\n", "lines": "hidden-a\nhidden-b\n", "large": strings.Repeat("x", maxText+1), "good": "s",
		"bom": "\uFEFFhidden\n", "utf16": "\xFF\xFEh\x00i\x00",
	} {
		write(t, name, []byte(content))
	}
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"hidden-none":              "the file cannot be read: no such file or directory",
		"folder":                   "is not a regular file",
		"empty":                    "the file is empty",
		"lines":                    "the file holds more than one line",
		"large":                    "the file is larger than 4096 bytes",
		"bom":                      "the file begins with a byte order mark; save it as UTF-8 without one",
		"utf16":                    "the file begins with a byte order mark; save it as UTF-8 without one",
		"${NOT_SET}/good":          "the environment variable that it names is not set",
		"${RELATIVE}/good":         "the environment variable that it names holds no absolute path",
		"${RELATIVE}":              "want ${NAME}/ with the name of a file behind it",
		"${RELATIVE}/":             "want ${NAME}/ with the name of a file behind it",
		"${CREDENTIALS-DIR}/good":  "want ${NAME} with a name of letters, digits and _",
		"${CREDENTIALS_DIRECTORY/": "want ${NAME}/ with the name of a file behind it",
	} {
		_, err := Parse("c.yaml", []byte(upstreamWith("secret_file: '"+path+"'")), Checks{})
		wantText(t, err, "c.yaml:4: upstreams[0].secret_file: "+want)
	}
	_, err := Parse("c.yaml", []byte(upstreamWith("secret: s", "secret_file: good")), Checks{})
	wantText(t, err, "c.yaml:5: upstreams[0].secret_file: secret is set too, want one of them")
	_, err = Parse("c.yaml", []byte(upstreamWith("secret_file: ''")), Checks{})
	wantText(t, err, "c.yaml:2: upstreams[0].secret: is missing")
}
