// Command before is a library of books on gin and scs.
package main

import (
	"log"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:4010", newApp().routes()))
}

type app struct {
	sessions *scs.SessionManager
}

func newApp() *app {
	sessions := scs.New()
	sessions.Cookie.Secure = true
	return &app{sessions: sessions}
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
	return a.sessions.LoadAndSave(e)
}

func (a *app) requireLogin(c *gin.Context) {
	if a.sessions.GetString(c.Request.Context(), "user") == "" {
		c.AbortWithStatusJSON(http.StatusUnauthorized, gin.H{"error": "please log in"})
	}
}

func (a *app) login(c *gin.Context) {
	user := c.PostForm("user")
	if !authenticate(user, c.PostForm("password")) {
		c.AbortWithStatus(http.StatusUnauthorized)
		return
	}
	if err := a.sessions.RenewToken(c.Request.Context()); err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	a.sessions.Put(c.Request.Context(), "user", user)
	c.Status(http.StatusNoContent)
}

func (a *app) logout(c *gin.Context) {
	if err := a.sessions.Destroy(c.Request.Context()); err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Status(http.StatusNoContent)
}

func (a *app) list(c *gin.Context) {
	user := a.sessions.GetString(c.Request.Context(), "user")
	c.JSON(http.StatusOK, gin.H{"user": user, "book": a.sessions.GetString(c.Request.Context(), "book")})
}

func (a *app) lend(c *gin.Context) {
	a.sessions.Put(c.Request.Context(), "book", c.Param("book"))
	c.Status(http.StatusCreated)
}

func authenticate(user, password string) bool { return user != "" && password == "demo" }
