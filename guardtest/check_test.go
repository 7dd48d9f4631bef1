package guardtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
)

var (
	account  = guardtest.Get("/account")
	transfer = guardtest.Post("/transfer", "to", "bob")
	home     = guardtest.Public(guardtest.Route{Target: "/", Private: "alice"})
)

func TestASoundApplicationPasses(t *testing.T) {
	for name, change := range map[string]func(*scsguard.Config){
		"as it is":         func(*scsguard.Config) {},
		"a login page":     func(c *scsguard.Config) { c.LoginURL = "/login" },
		"one session only": func(c *scsguard.Config) { c.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} },
		"a namespace":      func(c *scsguard.Config) { c.Namespace = "staff" },
		"equal limits": func(c *scsguard.Config) {
			c.Timeouts = scsguard.Timeouts{Idle: time.Hour, Absolute: time.Hour}
		},
		"a policy": func(c *scsguard.Config) { c.Policy = sameForAll },
	} {
		t.Run(name, func(t *testing.T) {
			newBank(t, change).Check(t, account, transfer, home, guardtest.Post("/leave"))
		})
	}
}

func TestASoundApplicationPassesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { newBank(t).Check(t, account, transfer, home) })
}

func TestASoundApplicationPassesWithHashedTokensAndAnotherCookie(t *testing.T) {
	sm := scs.New()
	sm.HashTokenInStore, sm.Cookie.Name, sm.Cookie.Secure = true, "__Host-bank", true
	around(guardtest.NewWith(t, sm)).Check(t, account, transfer, home)
}

func TestEachEndingLeavesItsEvent(t *testing.T) {
	b := newBank(t)
	b.Check(t, account)
	guardtest.Flush(t, b.Guard)
	var reasons []string
	for _, e := range b.Trail.Events(scsguard.EventLogout, scsguard.EventTimeout) {
		reasons = append(reasons, string(e.Kind)+" "+e.Reason)
	}
	require.Equal(t, []string{"timeout idle", "timeout absolute", "logout revoked", "logout user"}, reasons)
}

// Each application here is broken in one way, and Check has to say so.
func TestABrokenApplicationFails(t *testing.T) {
	after := []string{"after the idle timeout", "after the absolute timeout", "after Guard.EndAll", "after the logout"}
	for name, c := range map[string]struct {
		spoil func(*bank)
		route guardtest.Route
		each  []string // what the reports say, one each
		words []string // what all of them say
	}{
		"a handler that asks nobody who he is": {
			func(b *bank) { b.mux.HandleFunc("GET /x", b.unchecked) }, guardtest.Get("/x"), []string{""},
			[]string{"GET /x", "asks nobody who he is", "RequireLogin", `200 OK "balance: 100" for both`},
		},
		"a handler mounted outside Protect": {
			func(b *bank) { b.outside("GET /x", http.HandlerFunc(b.unchecked)) }, guardtest.Get("/x"), []string{""},
			[]string{"asks nobody who he is"},
		},
		"a gate mounted outside Protect": {
			func(b *bank) { b.outside("GET /x", b.Guard.RequireLogin(b.account())) }, guardtest.Get("/x"), []string{""},
			[]string{"what came was 500", "the guard reports, mount", "mount Protect around it"},
		},
		"a handler that remembers the user by his cookie": {
			func(b *bank) { b.mux.Handle("GET /x", b.remembering()) }, guardtest.Get("/x"), after,
			[]string{`"alice" logged in, GET /x was answered 200 OK "account of alice"`, "expected was status 401", `what came was 200 OK "account of alice"`, "remember nowhere else"},
		},
		"a handler that believes a cookie of its own": {
			func(b *bank) {
				b.mux.HandleFunc("GET /x", func(w http.ResponseWriter, r *http.Request) {
					if _, err := r.Cookie("user"); err == nil || b.who(r) != "" {
						http.SetCookie(w, &http.Cookie{Name: "user", Value: "alice"})
						return
					}
					http.Redirect(w, r, "/login", http.StatusFound)
				})
			}, guardtest.Get("/x"), after,
			[]string{"expected was status 401, or 302 Found to /login", "what came was 200 OK"},
		},
		"a public page that remembers the user": {
			func(b *bank) {
				h := b.remembering()
				b.mux.HandleFunc("GET /x", func(w http.ResponseWriter, r *http.Request) {
					if _, err := r.Cookie(guardtest.DefaultCookie); err == nil {
						h(w, r)
					}
				})
			}, guardtest.Public(guardtest.Route{Target: "/x", Private: "alice"}), after,
			[]string{`holds the private words "alice"`},
		},
		"a page that shows everybody what is private": {
			func(b *bank) { b.mux.HandleFunc("GET /x", b.unchecked) }, guardtest.Route{Target: "/x", Private: "100"}, []string{""},
			[]string{"without cookies", `private words "100"`},
		},
		"a handler that breaks when the session is over": {
			func(b *bank) {
				b.mux.HandleFunc("GET /x", func(w http.ResponseWriter, r *http.Request) {
					switch {
					case b.Guard.Ended(r.Context()) != "":
						panic("no user")
					case b.who(r) == "":
						w.WriteHeader(http.StatusUnauthorized)
					}
				})
			}, guardtest.Get("/x"), after,
			[]string{"no answer", "the handler panicked: no user", "no error of the server"},
		},
		"a handler that breaks without a session": {
			func(b *bank) {
				b.mux.HandleFunc("GET /x", func(_ http.ResponseWriter, r *http.Request) { _ = b.who(r)[0] })
			}, guardtest.Get("/x"), []string{""}, []string{"without cookies", "the handler panicked"},
		},
		"a route that does not exist": {
			func(*bank) {}, guardtest.Get("/acount"), []string{""},
			[]string{"GET /acount", "404 Not Found", "a refusal later would prove nothing"},
		},
		"a method that is not allowed": {
			func(*bank) {}, guardtest.Get("/transfer"), []string{""}, []string{"405"},
		},
		"a route that does not show the words": {
			func(*bank) {}, guardtest.Route{Target: "/account", Private: "bob"}, []string{""}, []string{`private words "bob"`, "name words that he gets to see"},
		},
		"another status": {
			func(*bank) {}, guardtest.Route{Target: "/account", Status: 201}, []string{""}, []string{"status 201", "200 OK"},
		},
		"a public route that is none": {
			func(*bank) {}, guardtest.Public(account), []string{""}, []string{"declared Public", "401 Unauthorized"},
		},
		"a route that differs by nothing that can be seen": {
			func(*bank) {}, guardtest.Get("/"), []string{""}, []string{"name in Route.Private the words"},
		},
		"a logout that clears the cookie only": {
			func(b *bank) { b.Logout = guardtest.LoginForm("/bye") }, account, []string{""},
			[]string{"App.Logout", "live", "Call Guard.Logout"},
		},
		"a login with the wrong password": {
			func(b *bank) { b.Login = guardtest.LoginForm("/login", "user", "alice") }, account, []string{""},
			[]string{"the login answered 401", "wrong password", "no cookie that could be a session's"},
		},
		"a registry that is another": {
			func(b *bank) { b.Registry = scsguard.NewMemoryRegistry() }, account, []string{""},
			[]string{"the registry knows no session", "App.Guard the guard of the handler"},
		},
		"an empty route": {
			func(*bank) {}, guardtest.Route{}, []string{""}, []string{"neither Target nor Request"},
		},
		"a route that is no path": {
			func(*bank) {}, guardtest.Get("account"), []string{""}, []string{"the target is not a path"},
		},
		"a request that cannot be made": {
			func(*bank) {}, guardtest.Route{Target: "/account", Request: func(*guardtest.Browser) (*http.Request, error) { return nil, errors.New("no form") }},
			[]string{""}, []string{"no form"},
		},
		"a refusal that is none": {
			func(b *bank) { b.Refused = func(a guardtest.Answer) bool { return a.Status == 418 } }, account, []string{""}, []string{"App.Refused", "401"},
		},
		"a refusal that is everything": {
			func(b *bank) { b.Refused = func(guardtest.Answer) bool { return true } }, account, []string{""}, []string{"App.Refused", "200 OK"},
		},
		"a login that logs out again": {
			func(b *bank) {
				b.Login = func(br *guardtest.Browser) guardtest.Answer {
					defer func(thief *guardtest.Browser) { br.SetToken(thief.Token()) }(loggedIn(br).Clone())
					return br.PostForm("/logout", nil)
				}
			}, account, []string{""}, []string{"the login answered 303", "its session is ended (user)"},
		},
		"a session that is over when it begins": {
			func(b *bank) {
				b.Login = func(br *guardtest.Browser) guardtest.Answer {
					defer func() { guardtest.ExpireIdle(b.tb, b.Registry, br.Token()) }()
					return loginAlice(br)
				}
			}, account, []string{""}, []string{"its session is over (idle)"},
		},
		"a registry that does not time anything out": {
			func(b *bank) { b.Registry = down{b.Registry} }, account, []string{""}, []string{"the registry cannot be asked"},
		},
		"a header that remembers the user": {
			func(b *bank) {
				h := b.remembering()
				b.mux.HandleFunc("GET /x", func(w http.ResponseWriter, r *http.Request) {
					kept := httptest.NewRecorder()
					h(kept, r)
					w.Header().Set("X-User", kept.Body.String())
				})
			}, guardtest.Public(guardtest.Route{Target: "/x", Private: "of alice"}), after, []string{`holds the private words "of alice"`},
		},
		"a refusal of the application's own that does not come": {
			func(b *bank) {
				b.Refused = func(a guardtest.Answer) bool { return a.Status == http.StatusUnauthorized }
				b.mux.Handle("GET /x", b.remembering())
			}, guardtest.Get("/x"), after, []string{"expected was what App.Refused takes for a refusal"},
		},
		"a request that is nothing": {
			func(*bank) {}, guardtest.Route{Request: func(*guardtest.Browser) (*http.Request, error) { return nil, nil }}, []string{""},
			[]string{"a request made by Route.Request", "Route.Request returned nothing"},
		},
		"only public routes": {
			func(*bank) {}, guardtest.Public(guardtest.Get("/")), []string{""}, []string{"nothing was tested"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			messages := reports(func(tb testing.TB) {
				b := newBank(tb)
				b.mux.HandleFunc("POST /bye", func(w http.ResponseWriter, _ *http.Request) {
					http.SetCookie(w, &http.Cookie{Name: guardtest.DefaultCookie, Path: "/", Secure: true, MaxAge: -1})
				})
				c.spoil(b)
				b.Check(tb, c.route)
			})
			require.Len(t, messages, len(c.each), strings.Join(messages, "\n"))
			for i, m := range messages {
				wantReport(t, []string{m}, append(c.words, c.each[i])...)
			}
		})
	}
}

// outside mounts a handler beside Protect.
func (b *bank) outside(pattern string, h http.Handler) {
	mux := http.NewServeMux()
	mux.Handle(pattern, h)
	mux.Handle("/", b.Handler)
	b.Handler = mux
}

func TestCheckNeedsWhatItNeeds(t *testing.T) {
	for word, take := range map[string]func(*guardtest.App){
		"App.Guard":   func(a *guardtest.App) { a.Guard = nil },
		"App.Handler": func(a *guardtest.App) { a.Handler = nil },
		"App.Login":   func(a *guardtest.App) { a.Login = nil },
	} {
		wantReport(t, reports(func(tb testing.TB) {
			b := newBank(tb)
			take(b.App)
			b.Check(tb, account)
		}), word)
	}
	wantReport(t, reports(func(tb testing.TB) { newBank(tb).Check(tb) }), "no routes")
}

func TestAGuardThatTheHandlerDoesNotUse(t *testing.T) {
	other := guardtest.New(t)
	ctx, err := other.Sessions.Load(context.Background(), "")
	require.NoError(t, err)
	_, err = other.Guard.Login(ctx, "alice")
	require.NoError(t, err)
	wantReport(t, reports(func(tb testing.TB) {
		b := newBank(tb)
		guard := b.Guard
		b.Guard = other.Guard
		b.Login = func(br *guardtest.Browser) guardtest.Answer {
			b.Guard = guard
			defer func() { b.Guard = other.Guard }()
			return loginAlice(br)
		}
		b.Check(tb, account)
	}), "App.Guard knows nothing of the session", "the guard that the handler uses")
}

// One wrong route among right ones is named, and the others are not.
func TestOnlyTheWrongRouteIsNamed(t *testing.T) {
	messages := reports(func(tb testing.TB) {
		b := newBank(tb)
		b.mux.HandleFunc("GET /x", b.unchecked)
		b.Check(tb, account, guardtest.Get("/x"), transfer)
	})
	require.Len(t, messages, 1)
	require.Contains(t, messages[0], "GET /x")
}

func TestRefusalsOfTheApplicationsOwn(t *testing.T) {
	b := newBank(t)
	b.mux.HandleFunc("GET /hidden", func(w http.ResponseWriter, r *http.Request) { // as if there were nothing
		if b.who(r) == "" {
			http.NotFound(w, r)
		}
	})
	b.mux.HandleFunc("GET /same", func(w http.ResponseWriter, r *http.Request) { // the form in place of the page
		if b.who(r) == "" {
			fmt.Fprint(w, "please log in")
			return
		}
		fmt.Fprint(w, "your balance")
	})
	b.Check(t, guardtest.Get("/hidden"), guardtest.Route{Target: "/same", Private: "balance"})

	b.mux.HandleFunc("GET /expired", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case b.who(r) != "":
		case b.Guard.Ended(r.Context()) != "":
			http.Redirect(w, r, "/sorry", http.StatusFound)
		default:
			http.Redirect(w, r, "/login", http.StatusFound)
		}
	})
	b.Refused = func(a guardtest.Answer) bool { return a.Status == http.StatusFound }
	b.Check(t, guardtest.Get("/expired"))
}

// A stream is broken off, and checked like any other route.
func TestAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t)
		b.mux.Handle("GET /stream", b.Guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})))
		b.Check(t, guardtest.Route{Target: "/stream", Within: time.Second})
	})
}

func TestRoutesAreReadFromLines(t *testing.T) {
	list := guardtest.Routes("/account", "GET /account", " POST  /transfer ")
	require.Equal(t, []string{"GET /account", "GET /account", "POST /transfer"}, []string{list[0].String(), list[1].String(), list[2].String()})
	newBank(t).Check(t, list...)
}

// A request can take more than a method and a path.
func TestARouteMakesItsRequest(t *testing.T) {
	b := newBank(t)
	b.mux.Handle("GET /form", b.Guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "4711") })))
	b.mux.Handle("PUT /send", b.Guard.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("number") != "4711" || r.Header.Get("X-Kind") != "wire" {
			http.Error(w, "no number", http.StatusBadRequest)
		}
	})))
	numbered := func(br *guardtest.Browser) (*http.Request, error) {
		return http.NewRequest(http.MethodPut, "/send?number="+url.QueryEscape(br.Get("/form").Body), nil)
	}
	b.Check(t, guardtest.Route{Request: numbered, Header: http.Header{"X-Kind": {"wire"}}},
		guardtest.Route{Target: "/transfer", Body: "to=bob"})
	require.Equal(t, "POST /transfer", guardtest.Route{Target: "/transfer", Body: "to=bob"}.String())
}

// A cap of one is no obstacle, even where a check has left a session behind.
func TestAWrongRouteLeavesNoSession(t *testing.T) {
	messages := reports(func(tb testing.TB) {
		b := newBank(tb, func(c *scsguard.Config) { c.Limit = scsguard.Limit{Max: 1, OnExceed: scsguard.Deny} })
		b.Check(tb, guardtest.Get("/nothing"), account, guardtest.Get("/nowhere"))
	})
	require.Len(t, messages, 2)
	require.Contains(t, messages[1], "GET /nowhere")
}
