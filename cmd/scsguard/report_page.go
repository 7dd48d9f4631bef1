package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"time"
)

// The page holds what others have written: names, user agents. html/template
// escapes it for the place where it stands, and the policy of the page lets nothing
// run or load but what is compiled in here.
var (
	//go:embed page/report.html
	reportHTML string
	//go:embed page/report.css
	reportCSS string
	//go:embed page/report.js
	reportJS string

	reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
		"stamp":  cell,
		"short":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"px":     func(x float64) string { return fmt.Sprintf("%.1f", x) },
		"plain":  escaped,
		"count":  count,
		"css":    func() template.CSS { return template.CSS(reportCSS) },
		"js":     func() template.JS { return template.JS(reportJS) },
		"policy": policy,
		"legend": func() any { return legend },
		"shape":  func(class string) string { return shapes[class] },
		"half":   func(x float64) float64 { return x - barHeight/2 },
	}).Parse(reportHTML))
)

func policy() string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + hash(reportCSS) + "; script-src " + hash(reportJS)
}

func (p *reportPage) render(w io.Writer) error { return reportTemplate.Execute(w, p) }
