package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
)

var demoUsers, demoPassword = []string{"admin", "alice", "bob", "carol"}, "demo"

// users are the passwords of those who may log in. An application has a database
// in this place; what it does with passwords should look the same.
type users struct {
	hashing int
	nobody  *credential

	mu  sync.RWMutex
	all map[string]*credential
}

// credential is a password that cannot be read. It never changes.
type credential struct{ salt, key []byte }

// iterations is what OWASP asks of PBKDF2 with HMAC-SHA-256.
const iterations = 600_000

func newUsers(hashing int) *users {
	u := &users{hashing: hashing, all: make(map[string]*credential)}
	for _, name := range demoUsers {
		u.all[name] = u.hash(demoPassword)
	}
	u.nobody = u.hash(rand.Text())
	return u
}

// hash makes a credential of a password.
func (u *users) hash(password string) *credential {
	salt := []byte(rand.Text())
	return &credential{salt: salt, key: u.derive(password, salt)}
}

func (u *users) derive(password string, salt []byte) []byte {
	key, err := pbkdf2.Key(sha256.New, password, salt, u.hashing, sha256.Size)
	if err != nil {
		panic("server: " + err.Error()) // for lengths that FIPS 140 forbids; these are not
	}
	return key
}

// check returns in a word what is wrong with the password, "" if nothing is, and
// the credential it was compared with. It takes as long for a user who does not
// exist, so that nobody can find out who does.
func (u *users) check(name, password string) (c *credential, wrong string) {
	u.mu.RLock()
	c, wrong = u.all[name], "password"
	u.mu.RUnlock()
	if c == nil {
		c, wrong = u.nobody, "unknown_user"
	}
	if subtle.ConstantTimeCompare(u.derive(password, c.salt), c.key) == 1 && c != u.nobody {
		wrong = ""
	}
	return c, wrong
}

// replace changes the user's credential, if it still is old.
func (u *users) replace(name string, old, fresh *credential) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[name] != old {
		return false
	}
	u.all[name] = fresh
	return true
}

// remembered says who may come back without his password, and as what: a user who
// was deleted may not.
func (u *users) remembered(_ context.Context, name string) (role string, err error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.all[name] == nil {
		return "", errors.New("there is no such user any more")
	}
	return roleUser, nil
}
