package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// TestAReportIsReadInARealBrowser opens the report of the case of
// docs/investigation.md: whether its policy lets its own script run, and the
// keyboard gets everywhere, only a browser can say. REPORT_DIR keeps pictures of it.
func TestAReportIsReadInARealBrowser(t *testing.T) {
	browser := chromium(t)
	dir := t.TempDir()
	disputed(t, newManager(), dir)
	file := filepath.Join(dir, "report.html")
	code, _, stderr := scsguardCommand(t, "report", filepath.Join(dir, "data", "trail"), "--anchor", filepath.Join(dir, "data", "anchor"),
		"--out", file, "--from", "2026-03-04T08:00", "--to", "2026-03-04T12:00")
	require.Equal(t, 0, code, stderr)

	page := browser()
	var mu sync.Mutex
	var complaints []string
	require.NoError(t, chromedp.Listen(page.ctx, func(ev any) {
		if kind := fmt.Sprintf("%T", ev); strings.Contains(kind, "ExceptionThrown") || strings.Contains(kind, "EntryAdded") || strings.Contains(kind, "ConsoleAPI") {
			mu.Lock()
			defer mu.Unlock()
			complaints = append(complaints, fmt.Sprintf("%s %+v", kind, ev))
		}
	}))
	page.visit("file://" + file)
	page.sees("h1", "Sessions")
	require.Contains(t, page.text(".headline"), "The trail is intact and complete.")
	require.Equal(t, "true", page.is(`document.querySelectorAll(".picture .bar").length >= 2`))

	// Two sessions of Alice at the same time are beneath each other.
	require.Equal(t, "true", page.is(`new Set([...document.querySelectorAll(".picture")].map(p => [...p.querySelectorAll(".bar")].map(b => b.getBoundingClientRect().top)).sort((a, b) => b.length - a.length)[0]).size === 2`))

	// The keyboard: Tab to a session, arrows to its records, Enter to the table.
	for range 20 {
		page.press(kb.Tab)
		if page.is(`document.activeElement.matches(".picture a")`) == "true" {
			break
		}
	}
	require.Contains(t, page.text("#tip"), "session ")
	page.press(kb.ArrowRight)
	require.Contains(t, page.text("#tip"), "logged in")
	page.press(kb.Escape)
	require.Equal(t, "true", page.is(`document.getElementById("tip").hidden`))
	page.press(kb.Enter)
	require.Equal(t, "true", page.is(`document.activeElement.matches("tr") && document.activeElement.textContent.includes("logged in")`))
	require.Equal(t, "true", page.is(`[...document.querySelectorAll("a, button, [tabindex], th, svg[role]")].every(e => e.textContent.trim() || e.getAttribute("aria-label"))`), "everything has a name")

	require.Empty(t, page.violations(), "what axe has to say")

	paper, err := chromedp.Run(page.ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	require.NoError(t, err)
	require.Contains(t, string(paper), "/MediaBox [0 0 841.91", "A4, landscape")
	if keep := os.Getenv("REPORT_DIR"); keep != "" {
		picture, err := chromedp.Run(page.ctx, chromedp.FullScreenshot(100))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(keep, "example.png"), picture, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(keep, "example.pdf"), paper, 0o600))
	}
	page.fitsOnPaper()
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, complaints)
}

// fitsOnPaper demands what a printed report promises: nothing is cut off at the
// right, however long a name is, the heads of tables are on each page, and neither a
// picture nor a record is torn apart. The rules for paper are put in force on the
// screen, which is made as wide as paper.
func (b *tab) fitsOnPaper() {
	t := b.t
	t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.EmulateViewport(1032, 703)) // A4 without its margins
	require.NoError(t, err)
	require.Equal(t, "1", b.is(`[...document.styleSheets[0].cssRules].filter(r => r.media && r.media.mediaText === "print").map(r => r.media.mediaText = "all").length`))
	b.is(`document.querySelectorAll("tbody td:not(.id):not(.t)").forEach(td => { if (!td.querySelector("time")) td.textContent += "W".repeat(100) })`)
	b.is(`document.querySelector("h3").textContent = "W".repeat(500)`)
	require.Equal(t, "true", b.is(`document.documentElement.scrollWidth <= innerWidth`), "nothing is cut off")
	style := func(selector, property, want string) {
		t.Helper()
		require.Equal(t, "true", b.is(fmt.Sprintf(`document.querySelector(%[1]q) !== null && [...document.querySelectorAll(%[1]q)].every(e => getComputedStyle(e)[%[2]q] === %[3]q)`, selector, property, want)), "%s %s", selector, property)
	}
	style("thead", "display", "table-header-group")
	style("tr, .picture, .verdict, .legend", "break-inside", "avoid")
	style("h2, h3, article > p, caption", "break-after", "avoid")
	style(".bar, .m, .verdict", "print-color-adjust", "exact")
	style(".scroll", "overflow-x", "visible")
	require.Equal(t, "true", b.is(`[...document.querySelectorAll(".picture")].every(p => p.getBoundingClientRect().height < 600)`), "a picture is not higher than a page")
}

// axe is the accessibility engine of Deque, as it is published (MPL-2.0).
//
//go:embed testdata/axe.min.js
var axe string

// violations asks axe about the page, and returns a line for each rule that is broken.
func (b *tab) violations() string {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](axe+"\n;'loaded'"))
	require.NoError(b.t, err)
	_ = b.is(`axe.run().then(r => window.found = (r.passes.length ? "" : "axe has looked at nothing") + r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.target).join(" | ")).join("\n"), e => window.found = String(e)), 0`)
	for range 300 {
		if b.is("typeof window.found") == "string" {
			return b.is("window.found")
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "axe did not come to an end"
}

// is evaluates an expression in the page.
func (b *tab) is(expression string) string {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	require.NoError(b.t, err)
	return v
}

func (b *tab) press(key string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.KeyEvent(key)))
}
