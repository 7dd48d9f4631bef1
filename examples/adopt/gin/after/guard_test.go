package main

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

func TestEveryRouteRefusesWhoseSessionIsOver(t *testing.T) {
	a := newApp()
	app := guardtest.App{Guard: a.guard, Handler: a.routes()}
	app.Login = guardtest.LoginForm("/login", "user", "alice", "password", "demo")
	app.Check(t, guardtest.Get("/loans"), guardtest.Post("/loans/moby-dick"))
}

// gate makes a handler of gin from a middleware that decides whether to go on and
// leaves the ResponseWriter alone: RequireLogin, EnforceTimeouts, LimitIdle,
// Passive. If it does not go on, the chain is aborted.
func gate(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

func TestAGateOfTheGuardAbortsTheChain(t *testing.T) {
	a, served := newApp(), 0
	e := gin.New()
	e.POST("/login", a.login)
	e.GET("/loans", gate(a.guard.RequireLogin), func(c *gin.Context) { served++; a.list(c) })
	b := guardtest.NewBrowser(t, a.guard.Protect(e))
	require.Equal(t, http.StatusUnauthorized, b.Get("/loans").Status)
	require.Zero(t, served)
	b.PostForm("/login", alice)
	require.Equal(t, http.StatusOK, b.Get("/loans").Status)
	require.Equal(t, 1, served)
}

// What a gate puts into the context of the request has to arrive in c.Request.
func TestCutOffReachesTheRequestOfGin(t *testing.T) {
	a := newApp()
	e := gin.New()
	e.POST("/login", a.login)
	e.GET("/wait", gate(a.guard.CutOff), func(c *gin.Context) {
		if _, err := a.guard.EndAll(context.Background(), "alice"); err != nil { // somebody else does
			c.AbortWithStatus(http.StatusServiceUnavailable)
			return
		}
		<-c.Request.Context().Done()
		c.String(http.StatusOK, string(a.guard.Ended(c.Request.Context())))
	})
	b := guardtest.NewBrowser(t, a.guard.Protect(e))
	b.PostForm("/login", alice)
	require.Equal(t, string(scsguard.ReasonEndedByAdmin), b.Get("/wait").Body)
}

// c.Stream asks the ResponseWriter for something that net/http has deprecated and
// that neither scs nor the guard passes on. Write and Flush work.
func TestStreamsOfGin(t *testing.T) {
	for name, stream := range map[string]struct {
		handler gin.HandlerFunc
		status  int
	}{
		"c.Stream": {func(c *gin.Context) { c.Stream(func(io.Writer) bool { return false }) }, http.StatusInternalServerError},
		"Flush":    {func(c *gin.Context) { c.Writer.Flush() }, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			a, plain := newApp(), guardtest.NewManager()
			e := gin.New()
			e.Use(gin.RecoveryWithWriter(io.Discard))
			e.GET("/stream", stream.handler)
			require.Equal(t, stream.status, guardtest.NewBrowser(t, plain.LoadAndSave(e)).Get("/stream").Status)
			require.Equal(t, stream.status, guardtest.NewBrowser(t, a.guard.Protect(e)).Get("/stream").Status)
		})
	}
}

// gin's own context passes nothing on of the request's, unless it is asked to.
func TestTheContextOfGinIsNotThatOfTheRequest(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		a := newApp()
		e := gin.New()
		e.ContextWithFallback = fallback
		e.POST("/login", a.login)
		e.GET("/", func(c *gin.Context) {
			_, ok := a.guard.Current(c)
			c.JSON(http.StatusOK, ok)
		})
		b := guardtest.NewBrowser(t, a.guard.Protect(e))
		b.PostForm("/login", alice)
		require.Equal(t, strconv.FormatBool(fallback), b.Get("/").Body)
	}
}

// What an aborted chain has put into the session is saved like everything else.
func TestWhatAnAbortedChainHasPutIsKept(t *testing.T) {
	a := newApp()
	e := gin.New()
	e.GET("/refused", func(c *gin.Context) {
		a.sessions.Put(c.Request.Context(), "flash", "No.")
		c.AbortWithStatus(http.StatusForbidden)
	})
	e.GET("/flash", func(c *gin.Context) { c.String(http.StatusOK, a.sessions.PopString(c.Request.Context(), "flash")) })
	b := guardtest.NewBrowser(t, a.guard.Protect(e))
	require.Equal(t, http.StatusForbidden, b.Get("/refused").Status)
	require.Equal(t, "No.", b.Get("/flash").Body)
}

// A middleware that answers through a ResponseWriter of its own cannot be a gate:
// gin goes on writing to the one it has, so the cookie of a login never goes out.
// So Protect stands around the engine, as LoadAndSave has to.
func TestProtectDoesNotWorkWithinGin(t *testing.T) {
	for name, around := range map[string]func(*app) func(http.Handler) http.Handler{
		"scs alone": func(*app) func(http.Handler) http.Handler { return nil },
		"the guard": func(a *app) func(http.Handler) http.Handler { return a.guard.Protect },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			e := gin.New()
			middleware := around(a)
			if middleware == nil {
				plain := guardtest.NewManager()
				a.sessions, middleware = plain, plain.LoadAndSave
			}
			e.Use(gate(middleware))
			e.GET("/put", func(c *gin.Context) {
				a.sessions.Put(c.Request.Context(), "book", "moby-dick")
				c.String(http.StatusOK, "put")
			})
			b := guardtest.NewBrowser(t, e)
			require.Equal(t, http.StatusOK, b.Get("/put").Status)
			require.Empty(t, b.Token(), "nobody was told the token")
		})
	}
}
