package scsguard

import (
	"context"
	"time"

	"github.com/alexedwards/scs/v2"
)

// tokenState is what the session manager holds before a change of token.
type tokenState struct {
	token    string
	key      Key
	deadline time.Time
	status   scs.Status
	mark     string
	data     loadedData
}

func (g *Guard) tokenState(ctx context.Context, r *request) tokenState {
	token := g.sm.Token(ctx)
	return tokenState{token: token, key: g.storeKey(token), deadline: g.sm.Deadline(ctx), status: g.sm.Status(ctx), mark: g.sm.GetString(ctx, markKey), data: r.loadedData()}
}

// changeToken gives the session data in ctx a new token, the mark of rec and its
// absolute deadline, without touching the store. It sets rec.Key. The returned
// context makes Commit of the session manager store the data and do nothing
// else.
func (g *Guard) changeToken(ctx context.Context, r *request, before *tokenState, rec *Record) (context.Context, error) {
	*before = g.tokenState(ctx, r)
	vctx := g.withVerb(g.withRequest(ctx, r))
	if err := g.sm.RenewToken(vctx); err != nil {
		return vctx, err
	}
	return g.putToken(vctx, rec), nil
}

// keepToken is changeToken where the application has just renewed the token.
func (g *Guard) keepToken(ctx context.Context, r *request, before *tokenState, rec *Record) context.Context {
	*before = g.tokenState(ctx, r)
	return g.putToken(g.withVerb(g.withRequest(ctx, r)), rec)
}

// isFresh reports whether a key is one that RenewToken has made in this request.
func (r *request) isFresh(key Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, swapped := r.swaps[key]
	return key != "" && key != r.came && key != r.key && !swapped
}

func (r *request) loadedDeadline() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deadline
}

// putToken makes the session data that of the record.
func (g *Guard) putToken(ctx context.Context, rec *Record) context.Context {
	rec.Key = g.storeKey(g.sm.Token(ctx))
	g.sm.Put(ctx, markKey, g.mark(rec.Session))
	g.sm.Remove(ctx, seenKey)
	g.sm.SetDeadline(ctx, rec.Absolute.UTC())
	return ctx
}

// isOfOther reports whether session data with that mark holds what another user
// has left: his session has ended, and the request has his data still. Destroy and
// Clear of the session manager take the mark away with the data.
func (g *Guard) isOfOther(r *request, mark, user string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return mark != "" && (r.rec.User != user || mark != g.mark(r.rec.Session) && mark != r.absorbed)
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
// in this request. Should the browser not have the old one yet, because it is of
// an earlier verb in the same request, its cookie is of that.
func (g *Guard) restoreToken(ctx context.Context, r *request, before tokenState, key Key) {
	r.keep(before.data)
	if before.mark != "" {
		g.sm.Put(ctx, markKey, before.mark)
	} else {
		g.sm.Remove(ctx, markKey)
	}
	g.sm.SetDeadline(ctx, before.deadline)
	if before.key == "" {
		// There was no session. A newer token may serve an anonymous one, if the
		// application puts something into it; the attempt's key has a tombstone, if
		// it has come that far.
		r.mu.Lock()
		r.untouched = before.status == scs.Unmodified
		r.mu.Unlock()
		if vctx := g.withVerb(g.withRequest(ctx, r)); g.sm.RenewToken(vctx) == nil {
			g.sm.SetDeadline(ctx, before.deadline)
		}
		return
	}
	r.remember(before.key, before.token)
	r.swap(key, r.resolve(before.key))
}
