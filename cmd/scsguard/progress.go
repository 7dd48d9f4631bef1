package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress draws a bar on a terminal while something long goes on. What is over
// in half a second draws nothing.
type progress struct {
	w     io.Writer // nil: nobody is looking
	what  string
	total int64
	start time.Time
	drawn time.Time
	width int // of what stands there
}

// bars are those of one question.
type bars struct {
	list []*progress
	last *progress
}

// add returns what moves a bar. Before it is drawn, the one before is taken away.
func (b *bars) add(p *progress) func(done, total int64) {
	b.list = append(b.list, p)
	return func(done, total int64) {
		if b.last != p {
			b.done()
			b.last, p.start = p, time.Now()
		}
		p.total = total
		p.at(done)
	}
}

func (b *bars) done() {
	for _, p := range b.list {
		p.done()
	}
}

const (
	barPatience = 500 * time.Millisecond
	barEvery    = 100 * time.Millisecond
	barWidth    = 30
)

// newProgress returns a bar for total units of work, unknown if 0.
func newProgress(w io.Writer, what string, total int64) *progress {
	p := &progress{what: what, total: total, start: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// at says how many bytes are done.
func (p *progress) at(done int64) {
	if p.w == nil {
		return
	}
	now := time.Now()
	spent := now.Sub(p.start)
	if spent < barPatience || now.Sub(p.drawn) < barEvery {
		return
	}
	p.drawn = now
	p.draw(p.text(done, spent))
}

func (p *progress) text(done int64, spent time.Duration) string {
	rate := float64(done) / spent.Seconds()
	text := fmt.Sprintf("%s  %s  %s/s", p.what, size(done), size(int64(rate)))
	if p.total <= 0 || done > p.total || rate <= 0 {
		return text
	}
	full := int(barWidth * done / p.total)
	left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
	return fmt.Sprintf("%s  [%s%s] %3d %%  %s/s  %s left", p.what, strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		100*done/p.total, size(int64(rate)), left.Round(time.Second))
}

func (p *progress) draw(text string) {
	fmt.Fprintf(p.w, "\r%-*s", p.width, text)
	p.width = len(text)
}

// done takes the bar away.
func (p *progress) done() {
	if p.w != nil && p.width > 0 {
		p.draw("")
		fmt.Fprint(p.w, "\r")
		p.width = 0
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
