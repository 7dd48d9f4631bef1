package contract

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

type secretKey struct{}

// contextual is a store of an application's own that takes contexts, and notes
// what it finds in them.
type contextual struct {
	scs.Store
	mu    sync.Mutex
	calls []string
}

func (s *contextual) called(ctx context.Context, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secret, _ := ctx.Value(secretKey{}).(string); secret != "" {
		name += " with " + secret
	}
	if ctx.Err() != nil {
		name += " cancelled"
	}
	if !slices.Contains(s.calls, name) {
		s.calls = append(s.calls, name)
	}
}

func (s *contextual) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	s.called(ctx, "find")
	return s.Find(token)
}

func (s *contextual) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	s.called(ctx, "commit")
	return s.Commit(token, b, expiry)
}

func (s *contextual) DeleteCtx(ctx context.Context, token string) error {
	s.called(ctx, "delete")
	return s.Delete(token)
}

func (s *contextual) AllCtx(ctx context.Context) (map[string][]byte, error) {
	s.called(ctx, "all")
	return s.Store.(scs.IterableStore).All()
}

func withContexts(s scs.Store) scs.Store { return &contextual{Store: s} }

// take returns the calls since the last time.
func (s *contextual) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := strings.Join(s.calls, ", ")
	s.calls = nil
	return calls
}

// knowing makes a request with something in its context.
func (b *browser) knowing(ctx context.Context, do func(ctx context.Context)) answer {
	r := b.request(func(_ http.ResponseWriter, r *http.Request) { do(r.Context()) })
	return b.do(r.WithContext(context.WithValue(ctx, secretKey{}, "a secret")))
}

// breaking is a store that fails on command.
type breaking struct {
	scs.Store
	mu  sync.Mutex
	bad map[string]bool
}

var errDown = errors.New("connection refused")

func breakable(s scs.Store) scs.Store { return &breaking{Store: s} }

// fails makes calls fail, and all others work.
func (a *app) fails(calls ...string) {
	s := a.inner.(*breaking)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = make(map[string]bool)
	for _, c := range calls {
		s.bad[c] = true
	}
}

func (s *breaking) err(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad[call] {
		return errDown
	}
	return nil
}

func (s *breaking) Find(token string) ([]byte, bool, error) {
	if err := s.err("find"); err != nil {
		return nil, false, err
	}
	return s.Store.Find(token)
}

func (s *breaking) Commit(token string, b []byte, expiry time.Time) error {
	if err := s.err("commit"); err != nil {
		return err
	}
	return s.Store.Commit(token, b, expiry)
}

func (s *breaking) Delete(token string) error {
	if err := s.err("delete"); err != nil {
		return err
	}
	return s.Store.Delete(token)
}

func (s *breaking) All() (map[string][]byte, error) {
	if err := s.err("all"); err != nil {
		return nil, err
	}
	return s.Store.(scs.IterableStore).All()
}

// storePromises are those to stores of an application's own.
func storePromises() []promise {
	return []promise{
		{
			says: "a store that takes contexts gets those of the requests",
			by:   members,
			wrap: withContexts,
			do: func(a *app) {
				b, s := a.visitor(), a.inner.(*contextual)
				s.take()
				b.knowing(context.Background(), func(ctx context.Context) { a.sm.Put(ctx, "k", "v") })
				a.note("%s", s.take())
				b.knowing(context.Background(), func(ctx context.Context) { a.must(a.sm.Destroy(ctx)) })
				a.note("%s", s.take())
				ctx := context.WithValue(context.Background(), secretKey{}, "a secret")
				a.must(a.sm.Iterate(ctx, func(context.Context) error { return nil }))
				a.note("%s", s.take())
			},
			want: `find with a secret, commit with a secret
			       find with a secret, delete with a secret
			       all with a secret`,
		},
		{
			says: "a store that takes contexts is told when the client has gone",
			by:   members,
			wrap: withContexts,
			do: func(a *app) {
				b, s := a.visitor(), a.inner.(*contextual)
				s.take()
				ctx, hangUp := context.WithCancel(context.Background())
				defer hangUp()
				b.knowing(ctx, func(ctx context.Context) {
					a.sm.Put(ctx, "k", "v")
					hangUp()
				})
				a.note("%s", s.take())
			},
			want: "find with a secret, commit with a secret cancelled",
			but:  []but{{listed: hangsUp, guard: "find with a secret, commit with a secret"}},
		},
		{
			says: "a store without contexts is enough",
			by:   everybody,
			wrap: func(s scs.Store) scs.Store { return noIteration{s} },
			do: func(a *app) {
				b := a.visitor()
				b.change()
				b.renew()
				b.shows("changed")
				b.destroy()
				b.shows("changed")
			},
			want: "changed: yes\nchanged: <nil>",
		},
		{
			says:    "the settings of the session manager stay as the application has made them",
			by:      []visitor{stranger},
			manager: idle20m,
			do: func(a *app) {
				a.note("the store: %s, the idle timeout: %s", yes(a.sm.Store == a.inner), a.sm.IdleTimeout)
			},
			want: "the store: yes, the idle timeout: 20m0s",
			but:  []but{{listed: twoSettings, guard: "the store: no, the idle timeout: 0s"}},
		},
		{
			says:    "a codec of the application's own encodes all that is stored",
			by:      everybody,
			manager: func(sm *scs.SessionManager) { sm.Codec = sealed{sm.Codec} },
			do: func(a *app) {
				b := a.visitor()
				b.change()
				b.renew()
				b.shows("changed")
				for _, data := range a.data() {
					a.note("%s", yes(strings.HasPrefix(string(data), seal)))
				}
			},
			want: "changed: yes\nyes",
		},
	}
}
