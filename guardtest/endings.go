package guardtest

import (
	"fmt"

	"github.com/scsguard/scsguard"
)

// An ending is a way in which Check ends a session.
type ending struct {
	after string // "after ...", for messages
	did   string // what was done
	// end does it, and returns the browser that tries the session's cookies then.
	end func(*checker, login) (*Browser, error)
}

func (a *App) endings() []ending {
	list := []ending{
		{"the idle timeout", "the session was made to pass its idle limit", timeOut(scsguard.EndIdle)},
		{"the absolute timeout", "the session was made to pass its absolute limit", timeOut(scsguard.EndAbsolute)},
		{"Guard.EndAll", "Guard.EndAll ended the user's sessions", endAll},
	}
	if a.Logout != nil {
		list = append(list, ending{"the logout", "the user logged out, after somebody had copied the cookies", logOut})
	}
	return list
}

func timeOut(reason scsguard.EndReason) func(*checker, login) (*Browser, error) {
	return func(c *checker, l login) (*Browser, error) {
		ctx, cancel := limited()
		defer cancel()
		if _, err := overdue(ctx, c.app.Registry, l.rec, reason); err != nil {
			return nil, fmt.Errorf("the session cannot be made to pass its %s limit: %w", reason, err)
		}
		return l.b, nil
	}
}

func endAll(c *checker, l login) (*Browser, error) {
	ctx, cancel := limited()
	defer cancel()
	if _, err := c.app.Guard.EndAll(ctx, l.rec.User); err != nil {
		return nil, fmt.Errorf("Guard.EndAll: %w", err)
	}
	return l.b, c.wantEnded(l, "Guard.EndAll")
}

func logOut(c *checker, l login) (*Browser, error) {
	thief := l.b.Clone()
	answer := c.app.Logout(l.b)
	return thief, c.wantEnded(l, fmt.Sprintf("App.Logout, which was answered %v,", answer))
}

// wantEnded demands that the registry says so.
func (c *checker) wantEnded(l login, by string) error {
	ctx, cancel := limited()
	defer cancel()
	rec, err := follow(ctx, c.app.Registry, l.rec.Key)
	if err != nil {
		return err
	}
	if rec.State != scsguard.StateEnded {
		return fmt.Errorf("%s has left the session %s %v; whoever has a copy of the cookie goes on using it. Call Guard.Logout in the handler, within Guard.Protect", by, rec.Session, rec.State)
	}
	return nil
}
