package bench

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// A curve is one line of a plot.
type curve struct {
	name   string
	points plotter.XYs
}

// What the plots show, as benchmarks found it out.
var bySessions, byRate []curve

// plotted adds a point to a curve.
func plotted(to *[]curve, name string, x, y float64) {
	for i := range *to {
		if (*to)[i].name == name {
			(*to)[i].points = append((*to)[i].points, plotter.XY{X: x, Y: y})
			return
		}
	}
	*to = append(*to, curve{name, plotter.XYs{{X: x, Y: y}}})
}

func plotSessions(file string) error {
	p := plot.New()
	p.Title.Text = "A request, in memory, all visitors in turn"
	p.X.Label.Text, p.Y.Label.Text = "live sessions", "µs"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	return draw(p, bySessions, file)
}

func plotRate(file string) error {
	p := plot.New()
	p.Title.Text = "Over HTTP, more and more connections"
	p.X.Label.Text, p.Y.Label.Text = "requests/s", "p99, µs"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	return draw(p, byRate, file)
}

func draw(p *plot.Plot, curves []curve, file string) error {
	for i, c := range curves {
		line, points, err := plotter.NewLinePoints(c.points)
		if err != nil {
			return err
		}
		line.Color, points.Color, points.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, points)
		p.Legend.Add(c.name, line, points)
	}
	p.Add(plotter.NewGrid())
	p.Legend.Top, p.Legend.Left = true, true
	if p.Y.Min > 0 && p.Y.Scale == (plot.LinearScale{}) {
		p.Y.Min = 0
	}
	p.Y.Max *= 1.3
	return p.Save(18*vg.Centimeter, 11*vg.Centimeter, file)
}
