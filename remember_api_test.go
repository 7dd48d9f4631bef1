package scsguard_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An API client that happens to run in a browser brings the cookies of the pages
// along. They are none of its business.
func TestAnAPIClientIsNeitherRememberedNorForgotten(t *testing.T) {
	rememberBubble(t, func(t *testing.T, a *app) {
		api(a)
		b := a.browser()
		b.remember(t, "alice")
		family := b.cookie(rememberCookie)
		time.Sleep(9 * time.Hour) // the session is over, the family is not

		require.Equal(t, http.StatusUnauthorized, b.get("/api/private").Code, "its remember-me cookie restores nothing there")
		require.Equal(t, http.StatusOK, b.get("/api/login?user=bob").Code)
		require.Equal(t, http.StatusOK, b.get("/api/logout").Code)
		require.Equal(t, family, b.cookie(rememberCookie), "a login or logout of the API leaves it alone")

		c := &client{h: a.serve}
		res := c.get("/remember?user=alice")
		require.Equal(t, http.StatusInternalServerError, res.Code)
		require.Contains(t, res.Body, "an API client has no cookie")
		require.Empty(t, res.Header.Values("Set-Cookie"))

		b.restart()
		require.Equal(t, http.StatusOK, b.get("/private").Code, "and the pages still know the browser")
	}, apiTokens)
}
