package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// client calls a store as a guard does: each method with a context where the
// store has it. Some stores have a plain method only for the interface's sake,
// and panic if it is called.
type client struct {
	find   func(ctx context.Context, token string) ([]byte, bool, error)
	commit func(ctx context.Context, token string, b []byte, expiry time.Time) error
	delete func(ctx context.Context, token string) error
	all    func(ctx context.Context) (map[string][]byte, error) // nil if the store cannot be iterated
	swap   func(ctx context.Context, token string, old, new []byte, expiry time.Time) (current []byte, swapped bool, err error)
	// deleteMany is nil if the store deletes one by one.
	deleteMany func(ctx context.Context, tokens []string) error

	// takesContext says which of them hand their context on.
	takesContext struct{ find, commit, delete, all bool }
}

func newClient(store scs.Store) *client {
	c := &client{
		find:   func(_ context.Context, token string) ([]byte, bool, error) { return store.Find(token) },
		commit: func(_ context.Context, token string, b []byte, at time.Time) error { return store.Commit(token, b, at) },
		delete: func(_ context.Context, token string) error { return store.Delete(token) },
	}
	if s, ok := store.(interface {
		FindCtx(context.Context, string) ([]byte, bool, error)
	}); ok {
		c.find, c.takesContext.find = s.FindCtx, true
	}
	if s, ok := store.(interface {
		CommitCtx(context.Context, string, []byte, time.Time) error
	}); ok {
		c.commit, c.takesContext.commit = s.CommitCtx, true
	}
	if s, ok := store.(interface {
		DeleteCtx(context.Context, string) error
	}); ok {
		c.delete, c.takesContext.delete = s.DeleteCtx, true
	}
	switch s := store.(type) {
	case scs.IterableCtxStore:
		c.all, c.takesContext.all = s.AllCtx, true
	case scs.IterableStore:
		c.all = func(context.Context) (map[string][]byte, error) { return s.All() }
	}
	if s, ok := store.(scsguard.Swapper); ok {
		c.swap = s.SwapCtx
	}
	if s, ok := store.(scsguard.BatchDeleter); ok {
		c.deleteMany = s.DeleteManyCtx
	}
	return c
}

// newToken returns a token as scs makes it, or its hash: 43 base64url
// characters.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// later is an expiry that no check waits for.
func later() time.Time { return time.Now().Add(time.Hour) }

// keep commits data under a new token.
func (c *client) keep(ctx context.Context, b []byte, expiry time.Time) (token string, err error) {
	token = newToken()
	if err := c.commit(ctx, token, b, expiry); err != nil {
		return token, fmt.Errorf("commit: %w", err)
	}
	return token, nil
}

// wantFound demands that the token has that data.
func (c *client) wantFound(ctx context.Context, token string, want []byte) error {
	b, found, err := c.find(ctx, token)
	switch {
	case err != nil:
		return fmt.Errorf("find: %w", err)
	case !found:
		return fmt.Errorf("find: not found, although %d bytes were committed", len(want))
	case !bytes.Equal(b, want):
		return fmt.Errorf("find: %d bytes, beginning with %.20q, not the %d bytes that were committed, beginning with %.20q", len(b), b, len(want), want)
	}
	return nil
}

// wantGone demands that the token has no data.
func (c *client) wantGone(ctx context.Context, token string) error {
	switch _, found, err := c.find(ctx, token); {
	case err != nil:
		return fmt.Errorf("find: not found should be no error: %w", err)
	case found:
		return fmt.Errorf("find: there is data")
	}
	return nil
}

// wantAll demands that an iteration yields exactly these sessions.
func (c *client) wantAll(ctx context.Context, want map[string][]byte) error {
	all, err := c.all(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("all: %w", err)
	case all == nil:
		return fmt.Errorf("all: nil, not an empty map")
	case len(all) != len(want):
		return fmt.Errorf("all: %d sessions, not %d", len(all), len(want))
	}
	for token, b := range want {
		if got, ok := all[token]; !ok || !bytes.Equal(got, b) {
			return fmt.Errorf("all: for a session that lives %.20q (there: %v), not %.20q", got, ok, b)
		}
	}
	return nil
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
