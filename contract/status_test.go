package contract

import (
	"context"
	"time"

	"github.com/alexedwards/scs/v2"
)

var statuses = map[scs.Status]string{scs.Unmodified: "unmodified", scs.Modified: "modified", scs.Destroyed: "destroyed"}

// status is a promise of the status of a session after something was done in the
// same request.
func status(says string, by []visitor, want string, do func(*scs.SessionManager, context.Context) error) promise {
	return promise{
		says: says + ": " + want,
		by:   by,
		do: func(a *app) {
			a.visitor().with(func(ctx context.Context) {
				a.must(do(a.sm, ctx))
				a.note("%s", statuses[a.sm.Status(ctx)])
			})
		},
		want: want,
	}
}

func statusPromises() []promise {
	type manager = *scs.SessionManager
	idle := status("the status before anything is done, with an idle timeout", members, "modified", func(manager, context.Context) error { return nil })
	idle.manager = idle20m
	idle.but = []but{{listed: readsOnly, guard: "unmodified"}}
	return []promise{
		idle,
		status("the status before anything is done", everybody, "unmodified", func(manager, context.Context) error { return nil }),
		status("the status after reading", everybody, "unmodified", func(sm manager, ctx context.Context) error {
			sm.Get(ctx, "user")
			sm.Keys(ctx)
			sm.Exists(ctx, "user")
			sm.Deadline(ctx)
			sm.Token(ctx)
			return nil
		}),
		status("the status after Put", everybody, "modified", func(sm manager, ctx context.Context) error {
			sm.Put(ctx, "k", "v")
			return nil
		}),
		status("the status after Pop of something", members, "modified", func(sm manager, ctx context.Context) error {
			sm.Pop(ctx, "user")
			return nil
		}),
		status("the status after Pop of nothing", everybody, "unmodified", func(sm manager, ctx context.Context) error {
			sm.Pop(ctx, "nothing")
			return nil
		}),
		status("the status after Remove of something", members, "modified", func(sm manager, ctx context.Context) error {
			sm.Remove(ctx, "user")
			return nil
		}),
		status("the status after Remove of nothing", everybody, "unmodified", func(sm manager, ctx context.Context) error {
			sm.Remove(ctx, "nothing")
			return nil
		}),
		status("the status after Clear of something", members, "modified", func(sm manager, ctx context.Context) error { return sm.Clear(ctx) }),
		status("the status after Clear of nothing", []visitor{stranger}, "unmodified", func(sm manager, ctx context.Context) error { return sm.Clear(ctx) }),
		status("the status after RenewToken", everybody, "modified", func(sm manager, ctx context.Context) error { return sm.RenewToken(ctx) }),
		status("the status after SetDeadline", everybody, "modified", func(sm manager, ctx context.Context) error {
			sm.SetDeadline(ctx, time.Now().Add(time.Hour))
			return nil
		}),
		status("the status after RememberMe", everybody, "modified", func(sm manager, ctx context.Context) error {
			sm.RememberMe(ctx, true)
			return nil
		}),
		status("the status after Destroy", everybody, "destroyed", func(sm manager, ctx context.Context) error { return sm.Destroy(ctx) }),
		status("the status after Destroy and Put", everybody, "modified", func(sm manager, ctx context.Context) error {
			err := sm.Destroy(ctx)
			sm.Put(ctx, "k", "v")
			return err
		}),
		status("the status after MergeSession of a token that is nobody's", everybody, "unmodified", func(sm manager, ctx context.Context) error {
			return sm.MergeSession(ctx, "nobody's")
		}),
		{
			says: "a session that was only read is not written to the store",
			by:   []visitor{stranger},
			do: func(a *app) {
				a.browser().read()
				a.note("%d", len(a.data()))
			},
			want: "0",
		},
	}
}
