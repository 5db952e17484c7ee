package socks5

import (
	"fmt"
	"strings"
	"testing"
)

func newUsers(t testing.TB, credentials ...string) Users {
	t.Helper()
	var u Users
	for _, c := range credentials {
		name, password, _ := strings.Cut(c, ":")
		if err := u.Add(name, password); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func TestUsersAdmit(t *testing.T) {
	long := strings.Repeat("x", maxCredential)
	u := newUsers(t, "alice:secret", "bob:hunter2", "a:bc", long+":"+long)
	tests := []struct {
		name, user, password string
		want                 bool
	}{
		{"first", "alice", "secret", true},
		{"second", "bob", "hunter2", true},
		{"longest", long, long, true},
		{"wrong password", "alice", "Secret", false},
		{"password of another", "alice", "hunter2", false},
		{"unknown user", "carol", "secret", false},
		{"empty", "", "", false},
		{"boundary moved", "ab", "c", false},
		{"prefix", "alice", "secre", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := u.admits([]byte(tt.user), []byte(tt.password)); got != tt.want {
				t.Errorf("admits(%q, %q) = %v, want %v", tt.user, tt.password, got, tt.want)
			}
		})
	}
}

func TestUsersAddRefuses(t *testing.T) {
	long := strings.Repeat("x", maxCredential+1)
	tests := []struct{ name, user, password string }{
		{"empty name", "", "secret"},
		{"empty password", "alice", ""},
		{"long name", long, "secret"},
		{"long password", "alice", long},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var u Users
			err := u.Add(tt.user, tt.password)
			if err == nil || u.Len() != 0 {
				t.Fatalf("Add(%q, %q) = %v, %d users, want an error, 0", tt.user, tt.password, err, u.Len())
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("Add(%q, %q) = %v, which tells the password", tt.user, tt.password, err)
			}
		})
	}
}

func TestUsersPrintNothing(t *testing.T) {
	s := struct{ Users Users }{newUsers(t, "alice:secret")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, s); !strings.Contains(got, "1 users") || strings.Contains(got, "sums") {
			t.Errorf("Sprintf(%q, users) = %q, want the number of users alone", format, got)
		}
	}
}
