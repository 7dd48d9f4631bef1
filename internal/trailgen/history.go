package trailgen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/scsguard/scsguard"
)

// Actor does one random thing after the other.
type Actor struct {
	World    *World
	Rand     *rand.Rand
	Users    []string
	Browsers []*Browser
	// Outages says whether trails may become impossible to write.
	Outages bool
}

// NewActor returns one with some users and browsers.
func NewActor(w *World, rng *rand.Rand, users, browsers int) *Actor {
	a := &Actor{World: w, Rand: rng}
	for i := range users {
		a.Users = append(a.Users, fmt.Sprintf("user%d", i+1))
	}
	for i := range browsers {
		a.Browsers = append(a.Browsers, &Browser{Addr: fmt.Sprintf("192.0.%d.%d", i%4, i+1), Agent: fmt.Sprintf("Browser/%d", i+1)})
	}
	return a
}

// Step does something at some host with some browser.
func (a *Actor) Step() {
	h := a.World.Hosts[a.Rand.IntN(len(a.World.Hosts))]
	b := a.Browsers[a.Rand.IntN(len(a.Browsers))]
	user := a.Users[a.Rand.IntN(len(a.Users))]
	guard := func(f func(context.Context, *scsguard.Guard) error) {
		b.Do(h, func(ctx context.Context, h *Host) error { return f(ctx, h.Guard) })
	}
	switch n := a.Rand.IntN(40); {
	case n < 10:
		b.Login(h, user)
	case n < 20:
		b.Visit(h)
	case n < 23:
		b.Logout(h)
	case n < 25:
		guard(func(ctx context.Context, g *scsguard.Guard) error { _, err := g.Extend(ctx); return err })
	case n < 27:
		guard(func(ctx context.Context, g *scsguard.Guard) error {
			_, err := g.Reauthenticated(ctx, scsguard.Methods("pwd"), scsguard.Full())
			return err
		})
	case n < 28:
		guard(func(ctx context.Context, g *scsguard.Guard) error { _, err := g.Elevate(ctx, "admin"); return err })
	case n < 29:
		guard(func(ctx context.Context, g *scsguard.Guard) error { _, err := g.Drop(ctx); return err })
	case n < 31:
		b.Do(h, func(ctx context.Context, h *Host) error { return h.Manager.RenewToken(ctx) })
	case n < 32:
		b.Do(h, func(ctx context.Context, h *Host) error { return h.Manager.Destroy(ctx) })
	case n < 33:
		in := time.Duration(a.Rand.Int64N(int64(20*time.Minute/time.Microsecond))) * time.Microsecond
		b.Do(h, func(ctx context.Context, h *Host) error {
			h.Manager.SetDeadline(ctx, time.Now().Add(in).UTC())
			return nil
		})
	case n < 35:
		guard(func(ctx context.Context, g *scsguard.Guard) error {
			if _, ok := g.Current(ctx); !ok {
				return nil // a bank asks for a login first
			}
			return g.Record(ctx, scsguard.Event{Kind: "transfer", Transaction: fmt.Sprintf("T%d", a.Rand.Uint32())})
		})
	case n < 36:
		guard(func(ctx context.Context, g *scsguard.Guard) error { _, err := g.EndOthers(ctx); return err })
	case n < 37:
		_, _ = h.Guard.EndAll(context.Background(), user, scsguard.By("root"))
	case n < 38:
		h.Guard.LoginFailed(context.Background(), user, "password")
	case n < 39:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // it waits for the trail
		_, _ = h.Guard.Sweep(ctx)
		cancel()
	case a.Outages:
		a.outage(h)
	}
}

// outage makes the trail of a host impossible to write for a few seconds, in
// which life goes on.
func (a *Actor) outage(h *Host) {
	a.Outages = false // one at a time
	h.Broken.Set(true)
	for range 1 + a.Rand.IntN(4) {
		a.Step()
		a.Pause(3 * time.Second)
	}
	h.Broken.Set(false)
	a.Outages = true
}

// Pause lets some time pass, in whole microseconds, the unit of the trail.
func (a *Actor) Pause(most time.Duration) {
	time.Sleep(time.Duration(a.Rand.Int64N(int64(most/time.Microsecond))) * time.Microsecond)
}
