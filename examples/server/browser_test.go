package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestInChromium goes the way of a user in a real browser: whether it keeps the
// cookie, runs the script under the content security policy, and forgets a page
// after the logout, only a browser can say.
func TestInChromium(t *testing.T) {
	browser := chromium(t)
	srv := run(t)
	first, second := browser(), browser()

	first.visit(srv.url + "/")
	first.logIn("alice")
	first.sees("h1", "Your account")
	first.sees("#who", "alice")
	first.sees("#balance", "1000.00")

	second.visit(srv.url + "/")
	second.logIn("alice")
	second.sees("h1", "Your account")
	require.Contains(t, second.text("main"), "Your last login was on")

	first.visit(srv.url + "/")
	require.Contains(t, first.text("#warnings"), "Somebody has logged in as you")
	first.visit(srv.url + "/")
	require.NotContains(t, first.text("main"), "Somebody has logged in as you")

	first.visit(srv.url + "/sessions")
	first.click(".card:not(.current) button")
	require.Contains(t, first.text("main"), "The session is ended.")
	second.visit(srv.url + "/sessions")
	second.sees("h1", "Log in")
	second.sees("#ended", "You ended this session.")

	first.visit(srv.url + "/")
	first.sees("h1", "Your account")
	first.click("header button")
	first.sees("h1", "Log in")
	first.back()
	require.NotContains(t, first.text("body"), "1000.00", "the page of before the logout is not shown again")
	first.sees("h1", "Log in")
}

// TestTheCountdown has a session that ends within a minute.
func TestTheCountdown(t *testing.T) {
	browser := chromium(t)
	srv := run(t, func(o *options) { o.timeouts.Idle = 55 * time.Second })
	alice := browser()
	alice.visit(srv.url + "/")
	alice.logIn("alice")
	require.NoError(t, chromedp.Do(alice.ctx, chromedp.WaitVisible(chromedp.CSS("#countdown"))))
	require.Contains(t, alice.text("#countdown"), "You will be logged out in")
	alice.click("#countdown button")
	require.Contains(t, alice.text("main"), "Your session goes on.")
}

// tab is a browser of its own: it shares no cookies with others.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// missing skips a test for which a program is missing, except where tests must be
// complete.
func missing(t *testing.T, cure string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(cure)
	}
	t.Skip(cure)
}

// chromium starts a browser and returns a function that opens tabs.
func chromium(t *testing.T) func() *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		missing(t, "this test needs Chromium: apt-get install chromium")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...) // with a new directory for the user's data
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "Chromium does not start")
	return func() *tab {
		own, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
		t.Cleanup(cancel)
		return &tab{t: t, ctx: own}
	}
}

func (b *tab) visit(url string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(url)))
}

func (b *tab) back() {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.NavigateBack()))
}

// click clicks on what leads to another page, and waits for it.
func (b *tab) click(selector string) {
	b.t.Helper()
	_, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(selector)))
	require.NoError(b.t, err)
}

func (b *tab) logIn(user string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx,
		chromedp.SendKeys(chromedp.CSS("#user"), user),
		chromedp.SendKeys(chromedp.CSS("#password"), demoPassword)))
	b.click("form.card button")
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(selector)))
	require.NoError(b.t, err)
	return text
}

func (b *tab) sees(selector, text string) {
	b.t.Helper()
	require.Equal(b.t, text, b.text(selector))
}
