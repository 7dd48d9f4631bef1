package scsguard_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// Random histories: whatever is called in whatever order, no session is valid
// at its absolute deadline without a full re-authentication, and no deadline
// moves later.
func TestNoHistoryOutlivesTheAbsoluteTimeout(t *testing.T) {
	const histories, steps = 60, 80
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range histories {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		bubble(t, func(t *testing.T, a *app) {
			h := &history{t: t, a: a, rng: rng, deadlines: make(map[string]time.Time)}
			for range 3 {
				h.browsers = append(h.browsers, a.browser())
			}
			a.handle("/merge", func(w http.ResponseWriter, r *http.Request) error {
				return a.sm.MergeSession(r.Context(), r.FormValue("token"))
			})
			a.mux.HandleFunc("/deadline", func(w http.ResponseWriter, r *http.Request) {
				a.sm.SetDeadline(r.Context(), time.Now().Add(1000*time.Hour))
			})
			for range steps {
				h.step()
				h.check()
			}
		}, func(cfg *scsguard.Config) {
			cfg.Timeouts = scsguard.Timeouts{Idle: 20 * time.Minute, Absolute: time.Hour, Renew: 7 * time.Minute}
			if i%2 == 0 {
				cfg.RotationGrace = -1
			}
		})
	}
}

type history struct {
	t         *testing.T
	a         *app
	rng       *rand.Rand
	browsers  []*browser
	deadlines map[string]time.Time // by session: the latest that is right
	log       []string
}

func (h *history) step() {
	b := h.browsers[h.rng.IntN(len(h.browsers))]
	other := h.browsers[h.rng.IntN(len(h.browsers))]
	paths := []string{
		"/login?user=alice", "/login?user=bob", "/whoami", "/whoami", "/put?k=a&v=b", "/extend", "/extend", "/elevate?role=admin",
		"/reauth", "/renew", "/renew", "/deadline", "/logout", "/merge?token=" + other.token(),
	}
	switch n := h.rng.IntN(len(paths) + 4); {
	case n < len(paths):
		h.log = append(h.log, fmt.Sprintf("%d %s", h.index(b), paths[n]))
		b.get(paths[n])
	case n == len(paths):
		h.log = append(h.log, fmt.Sprintf("%d full re-authentication", h.index(b)))
		if res := b.get("/reauth?full=1"); res.Code == 200 {
			if s := h.current(b); s != nil {
				h.deadlines[s.ID] = time.Now().Add(time.Hour)
			}
		}
	default:
		d := time.Duration(h.rng.Int64N(int64(8 * time.Minute)))
		h.log = append(h.log, "wait "+d.String())
		time.Sleep(d)
	}
}

func (h *history) index(b *browser) int {
	for i, o := range h.browsers {
		if o == b {
			return i
		}
	}
	return -1
}

// current returns the live session of a browser, as the registry has it.
func (h *history) current(b *browser) *scsguard.Session {
	if b.token() == "" {
		return nil
	}
	ctx, err := h.a.sm.Load(context.Background(), b.token())
	require.NoError(h.t, err)
	s, ok := h.a.guard.Current(ctx)
	if !ok {
		return nil
	}
	return &s
}

func (h *history) check() {
	synctest.Wait()
	now := time.Now()
	for _, user := range []string{"alice", "bob"} {
		list, err := h.a.guard.SessionsOf(context.Background(), user)
		require.NoError(h.t, err)
		for _, s := range list {
			limit, known := h.deadlines[s.ID]
			if !known {
				limit = s.Created.Add(time.Hour)
			}
			require.False(h.t, s.AbsoluteExpires.After(limit), "a deadline moved later:\n%s", strings.Join(h.log, "\n"))
			require.True(h.t, now.Before(limit), "valid past its deadline:\n%s", strings.Join(h.log, "\n"))
			h.deadlines[s.ID] = s.AbsoluteExpires
		}
	}
	for _, data := range storeKeys(h.t, h.a.sm) {
		deadline, values, err := h.a.sm.Codec.Decode(data)
		require.NoError(h.t, err)
		if mark, ok := values["__scsguard"].(string); ok {
			if limit, known := h.deadlines[mark]; known {
				require.False(h.t, deadline.After(limit.Add(time.Second)), "an instance without the guard would see a later deadline:\n%s", strings.Join(h.log, "\n"))
			}
		}
	}
}
