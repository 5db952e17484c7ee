package socks5

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
)

// maxCredential is the longest user name or password that the wire form holds (RFC 1929, section 2).
const maxCredential = 255

// Users are those who may use a server. The zero value lets everybody in without authentication. Users keeps
// no password and prints none.
type Users struct {
	sums [][sha256.Size]byte
}

// Add admits one user more. Names and passwords have 1 to 255 bytes. It must not be called once a server
// runs.
func (u *Users) Add(name, password string) error {
	if err := checkCredential(name); err != nil {
		return fmt.Errorf("user name %w", err)
	}
	if err := checkCredential(password); err != nil {
		return fmt.Errorf("password %w", err)
	}
	u.sums = append(u.sums, credentialSum([]byte(name), []byte(password)))
	return nil
}

func checkCredential(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxCredential:
		return fmt.Errorf("is longer than %d bytes", maxCredential)
	}
	return nil
}

// Len is the number of users.
func (u Users) Len() int { return len(u.sums) }

// String tells nothing but the number of users.
func (u Users) String() string { return fmt.Sprintf("%d users", len(u.sums)) }

// GoString is String, so that %#v prints no digest.
func (u Users) GoString() string { return u.String() }

// admits takes the same time whether or not the name is known and wherever the password is wrong.
func (u Users) admits(name, password []byte) bool {
	sum := credentialSum(name, password)
	found := 0
	for i := range u.sums {
		found |= subtle.ConstantTimeCompare(u.sums[i][:], sum[:])
	}
	return found == 1
}

// credentialSum makes credentials equally long. The length byte keeps "ab" + "c" apart from "a" + "bc".
func credentialSum(name, password []byte) [sha256.Size]byte {
	b := make([]byte, 0, 1+2*maxCredential)
	b = append(b, byte(len(name)))
	b = append(b, name...)
	return sha256.Sum256(append(b, password...))
}
