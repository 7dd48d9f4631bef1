// Command after is the library of books on gin and scs under the guard.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"

	"github.com/scsguard/scsguard"
)

func main() {
	a := newApp()
	err := http.ListenAndServe("127.0.0.1:4010", a.routes())
	log.Fatal(errors.Join(err, a.guard.Close(context.Background())))
}

type app struct {
	sessions *scs.SessionManager
	guard    *scsguard.Guard
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Secure = true
	sessions.Cookie.Name = "__Host-session"
	guard, err := scsguard.New(sessions, scsguard.Config{Audit: scsguard.NewWriterSink(os.Stderr)})
	if err != nil {
		log.Fatal(err)
	}
	return &app{sessions: sessions, guard: guard}
}

func (a *app) routes() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.Recovery())
	e.POST("/login", a.login)
	e.POST("/logout", a.logout)
	loans := e.Group("/loans", a.requireLogin)
	loans.GET("", a.list)
	loans.POST("/:book", a.lend)
	return a.guard.Protect(e)
}

func (a *app) requireLogin(c *gin.Context) {
	if _, ok := a.guard.Current(c.Request.Context()); !ok {
		c.AbortWithStatusJSON(http.StatusUnauthorized, gin.H{"error": "please log in"})
	}
}

func (a *app) login(c *gin.Context) {
	user := c.PostForm("user")
	if !authenticate(user, c.PostForm("password")) {
		c.AbortWithStatus(http.StatusUnauthorized)
		return
	}
	if _, err := a.guard.Login(c.Request.Context(), user); err != nil {
		c.AbortWithStatus(http.StatusServiceUnavailable)
		return
	}
	c.Status(http.StatusNoContent)
}

func (a *app) logout(c *gin.Context) {
	if err := a.guard.Logout(c.Request.Context()); err != nil {
		c.AbortWithStatus(http.StatusServiceUnavailable)
		return
	}
	c.Status(http.StatusNoContent)
}

func (a *app) list(c *gin.Context) {
	s, _ := a.guard.Current(c.Request.Context())
	c.JSON(http.StatusOK, gin.H{"user": s.User, "book": a.sessions.GetString(c.Request.Context(), "book")})
}

func (a *app) lend(c *gin.Context) {
	a.sessions.Put(c.Request.Context(), "book", c.Param("book"))
	c.Status(http.StatusCreated)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
