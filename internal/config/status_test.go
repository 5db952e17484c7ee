package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goodToken = "0123456789abcdef"

func TestStatusIsEnabled(t *testing.T) {
	tests := []struct {
		name, file string
		enable     bool
		listen     string
	}{
		{"nothing said", "", false, "127.0.0.1:9101"},
		{"enabled", "status: {enable: true}", true, "127.0.0.1:9101"},
		{"an address", "status: {listen: 'localhost:9000'}", true, "localhost:9000"},
		{"an address, switched off", "status: {listen: '[::1]:9000', enable: false}", false, "[::1]:9000"},
		{"an open address, switched off", "status: {listen: ':9000', enable: false}", false, ":9000"},
		{"no address", "status: {listen: ''}", false, ""},
		{"a token alone", "status: {token: " + goodToken + "}", false, "127.0.0.1:9101"},
		{"open with a token", "status: {listen: ':9000', token: " + goodToken + "}", true, ":9000"},
		{"unix", "status: {listen: 'unix:/run/o.sock'}", true, "unix:/run/o.sock"},
		{"unix, relative", "status: {listen: 'unix:o'}", true, "unix:" + filepath.Join("folder", "o")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("folder/config.yaml", []byte(tt.file+minimal), Checks{})
			if err != nil {
				t.Fatal(err)
			}
			if s := c.Status; s.Enable != tt.enable || s.Listen != tt.listen {
				t.Errorf("enable %t at %q, want %t at %q", s.Enable, s.Listen, tt.enable, tt.listen)
			}
		})
	}
}

func TestStatusMistakes(t *testing.T) {
	const open = "status.listen: other hosts can reach this listener and there is no token; " +
		"listen on 127.0.0.1, or set status.token"
	tests := []struct{ name, file, want string }{
		{"open", "listen: ':9101'", open},
		{"open on purpose", "listen: '192.0.2.1:9101', token: ''", open},
		{
			"token is a mistake itself", "listen: ':9101', token: short",
			"status.token: is too short to be safe; openssl rand -hex 16 makes a good one",
		},
		{
			"token of nobody", "token: '${NOT_SET}'",
			"status.token: the environment variable that it names is not set",
		},
		{"token with a space", "token: '0123456789 abcdef'", "status.token: must be ASCII without spaces"},
		{"token not ASCII", "token: '0123456789äbcdef'", "status.token: must be ASCII without spaces"},
		{"no address", "enable: true, listen: ''", "status.listen: is empty, and status.enable is true"},
		{
			"no port", "listen: localhost",
			"status.listen: want an address like 127.0.0.1:1080; is the port missing?",
		},
		{"no path", "listen: 'unix:'", "status.listen: the path of the unix socket is missing"},
		{
			"long path", "listen: 'unix:/" + strings.Repeat("x", 103) + "'",
			"status.listen: the path of the unix socket must be 103 bytes or less",
		},
		{
			"host with a port", "hosts: 'a.example:80'",
			"status.hosts: must be a name or an IP address, without a port",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte("status: {"+tt.file+"}"+minimal), Checks{})
			if want := "c.yaml:1: " + tt.want; err == nil || err.Error() != want {
				t.Errorf("Parse = %v, want %s", err, want)
			}
		})
	}
}

func TestStatusHosts(t *testing.T) {
	c := parse(t, "status: {hosts: [Router.lan, 'host.example.', '2001:db8::1']}"+minimal)
	if want := []string{"router.lan", "host.example", "2001:db8::1"}; !slices.Equal(c.Status.Hosts, want) {
		t.Errorf("hosts = %q, want %q", c.Status.Hosts, want)
	}
}
