package scsguard_test

import (
	"context"
	"net/http"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// An application that has never heard of the guard: its user key is "user".

// byUserKey guards it without touching its handlers.
func byUserKey(sm *scs.SessionManager) func(*scsguard.Config) {
	return func(cfg *scsguard.Config) {
		cfg.UserID = func(ctx context.Context) string { return sm.GetString(ctx, "user") }
	}
}

// plainHandlers mounts what such an application does.
func plainHandlers(mux *http.ServeMux, sm *scs.SessionManager) {
	handle := func(path string, h func(*http.Request) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := h(r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("done"))
		})
	}
	put := func(r *http.Request) { sm.Put(r.Context(), "user", r.FormValue("user")) }
	handle("/plain/login", func(r *http.Request) error {
		err := sm.RenewToken(r.Context())
		put(r)
		return err
	})
	handle("/plain/login-without-renewal", func(r *http.Request) error { put(r); return nil })
	handle("/plain/login-after-destroy", func(r *http.Request) error {
		err := sm.Destroy(r.Context())
		put(r)
		return err
	})
	handle("/plain/login-after-clear", func(r *http.Request) error {
		err := sm.Clear(r.Context())
		if err == nil {
			err = sm.RenewToken(r.Context())
		}
		put(r)
		return err
	})
	handle("/plain/logout", func(r *http.Request) error { return sm.Destroy(r.Context()) })
	handle("/plain/logout-by-remove", func(r *http.Request) error {
		err := sm.RenewToken(r.Context())
		sm.Remove(r.Context(), "user")
		sm.Put(r.Context(), "flash", "goodbye")
		return err
	})
	handle("/plain/logout-without-renewal", func(r *http.Request) error {
		sm.Remove(r.Context(), "user")
		sm.Put(r.Context(), "flash", "goodbye")
		return nil
	})
	handle("/plain/logout-with-flash", func(r *http.Request) error {
		err := sm.Destroy(r.Context())
		sm.Put(r.Context(), "flash", "goodbye")
		return err
	})
	handle("/plain/put", func(r *http.Request) error { sm.Put(r.Context(), "cart", "book"); return nil })
	handle("/plain/clear", func(r *http.Request) error { return sm.Clear(r.Context()) })
	handle("/plain/renew", func(r *http.Request) error { return sm.RenewToken(r.Context()) })
	mux.HandleFunc("/plain/whoami", func(w http.ResponseWriter, r *http.Request) {
		if user := sm.GetString(r.Context(), "user"); user != "" {
			_, _ = w.Write([]byte(user))
			return
		}
		http.Error(w, "", http.StatusUnauthorized)
	})
}

// plainInstance is the application on plain scs, on the same store: an instance
// that has not been deployed yet.
func plainInstance(guarded *scs.SessionManager, store scs.Store) (*scs.SessionManager, http.Handler) {
	sm := *guarded
	sm.Store = store
	mux := http.NewServeMux()
	plainHandlers(mux, &sm)
	return &sm, sm.LoadAndSave(mux)
}

// on is the same browser, whose next requests reach another instance.
func (b *browser) on(h http.Handler) *browser {
	b.h = h
	return b
}
