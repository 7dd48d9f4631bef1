package scsguard

import (
	"context"

	"github.com/alexedwards/scs/v2"
)

// changeToken gives the session data in ctx a new token, the mark of rec and its
// absolute deadline, without touching the store. It sets rec.Key. The returned
// context makes Commit of the session manager store the data and do nothing
// else.
func (g *Guard) changeToken(ctx context.Context, r *request, before *tokenState, rec *Record) (context.Context, error) {
	*before = tokenState{key: g.storeKey(g.sm.Token(ctx)), deadline: g.sm.Deadline(ctx), status: g.sm.Status(ctx), mark: g.sm.GetString(ctx, markKey)}
	vctx := g.withVerb(g.withRequest(ctx, r))
	if err := g.sm.RenewToken(vctx); err != nil {
		return vctx, err
	}
	rec.Key = g.storeKey(g.sm.Token(ctx))
	g.sm.Put(vctx, markKey, g.mark(rec.Session))
	g.sm.Remove(vctx, seenKey)
	g.sm.SetDeadline(vctx, rec.Absolute.UTC())
	return vctx, nil
}

// takeValues empties the session data but for the mark, and returns what was in
// it.
func (g *Guard) takeValues(ctx context.Context) map[string]any {
	taken := make(map[string]any)
	for _, key := range g.sm.Keys(ctx) {
		if key != markKey {
			taken[key] = g.sm.Pop(ctx, key)
		}
	}
	return taken
}

// restoreToken undoes changeToken after a failure. The session manager has no
// way back to its old token, so the new one stands for the old one from now on
// in this request, and no cookie is sent.
func (g *Guard) restoreToken(ctx context.Context, r *request, before tokenState, key Key) {
	if before.mark != "" {
		g.sm.Put(ctx, markKey, before.mark)
	} else {
		g.sm.Remove(ctx, markKey)
	}
	g.sm.SetDeadline(ctx, before.deadline)
	if r.openFate() != nil {
		return // the application had renewed the token itself; the commit goes on with the newer one
	}
	if before.key == "" {
		// There was no session. The new token may serve an anonymous one, if the
		// application puts something into it.
		r.mu.Lock()
		r.untouched = before.status == scs.Unmodified
		r.mu.Unlock()
		return
	}
	r.swap(key, r.resolve(before.key))
}
