package scsguard_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
)

// How long a request takes is measured in bench. What it allocates can be counted, and
// much of what it takes shows there: a goroutine, a copy, a question asked twice.
func TestARequestMakesLittleGarbage(t *testing.T) {
	sm := newManager()
	sm.Codec = scsguard.Codec{}
	g, err := scsguard.New(sm, scsguard.Config{Audit: scsguard.Discard(), SweepEvery: -1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	login := httptest.NewRecorder()
	g.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := g.Login(r.Context(), "alice")
		require.NoError(t, err)
	})).ServeHTTP(login, httptest.NewRequest(http.MethodGet, "/", nil))
	page := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }))
	for cookie, most := range map[string]float64{"": 9, login.Result().Cookies()[0].String(): 15, sm.Cookie.Name + "=forged": 9} {
		r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		r.Header.Set("Cookie", cookie)
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
			clear(w.Header())
			page.ServeHTTP(w, r)
		}), most, cookie)
	}
}
