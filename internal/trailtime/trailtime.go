// Package trailtime reads the times of a trail fast: there are several in each of
// millions of records.
package trailtime

import "time"

// Layout is how a trail writes a time: UTC, microseconds.
const Layout = "2006-01-02T15:04:05.000000Z"

// Parse reads a time of exactly that form; ok is false for anything else, which
// may be a time all the same.
func Parse(b []byte) (t time.Time, ok bool) {
	if len(b) != len(Layout) {
		return time.Time{}, false
	}
	for i, c := range b {
		if want := shape[i]; want == '0' && (c < '0' || c > '9') || want != '0' && c != want {
			return time.Time{}, false
		}
	}
	year, month, day := two(b)*100+two(b[2:]), two(b[5:]), two(b[8:])
	hour, minute, second := two(b[11:]), two(b[14:]), two(b[17:])
	if month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	micro := two(b[20:])*10000 + two(b[22:])*100 + two(b[24:])
	return time.Date(year, time.Month(month), day, hour, minute, second, micro*1000, time.UTC), true
}

const shape = "0000-00-00T00:00:00.000000Z"

func two(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
