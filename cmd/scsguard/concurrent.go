package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/scsguard/scsguard/investigate"
)

func concurrent() command {
	return command{
		name: "concurrent", args: "DIR...",
		short: "did this user have two sessions at the same time, one from an unusual address?",
		long: `Answers whether two sessions of a user were alive at the same time. A session
and the one whose login replaced or evicted it do not count.

An address is unusual if none of the user's requests in other sessions came from
its network (the first 24 bits of an IPv4 address, 56 of IPv6) in the 30 days before
the session began, as far as the trail reaches back. --places names a file with
lines such as "192.0.2.0/24 Berlin": an address whose place was seen is not unusual,
though its network is new.` + questionHelp,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var cq investigate.ConcurrentQuery
			var p period
			var at when
			q.declare(fs)
			p.declare(fs)
			fs.StringVar(&cq.User, "user", "", "the `user`; required")
			fs.Var(&at, "at", "around this `time`, in place of --from and --to")
			window := fs.Duration("window", time.Hour, "how `long` before and after --at")
			fs.BoolVar(&cq.UnusualOnly, "unusual-ip", false, "only if one of the two came from an unusual address")
			days := fs.Int("days", 30, "how many `days` back an address counts as seen")
			fs.IntVar(&cq.Rule.V4, "ipv4-bits", 24, "how many `bits` of an IPv4 address are its network")
			fs.IntVar(&cq.Rule.V6, "ipv6-bits", 56, "how many `bits` of an IPv6 address are its network")
			places := fs.String("places", "", "a `file` that says where networks are")
			return func(c *call) error {
				if cq.User == "" {
					return usageError("--user is missing")
				}
				cq.From, cq.To = p.from.Time, p.to.Time
				if !at.IsZero() {
					cq.From, cq.To = at.Add(-*window), at.Add(*window)
				}
				cq.Rule.Within = time.Duration(*days) * 24 * time.Hour
				if *places != "" {
					loc, err := readPlaces(*places)
					if err != nil {
						return err
					}
					cq.Rule.Locator = loc
				}
				return q.ask(c, func(ctx context.Context, t *investigate.Trail) (*finds, error) {
					pairs, a, err := t.Concurrent(ctx, cq)
					out := &finds{asked: concurrentQuestion(&cq), answer: a,
						columns: []string{"from", "to", "session", "ip", "unusual", "other session", "other ip", "other unusual", "sure"}}
					for i := range pairs {
						out.rows = append(out.rows, pairRow(&pairs[i]))
					}
					return out, err
				})
			}
		},
	}
}

func concurrentQuestion(q *investigate.ConcurrentQuery) string {
	text := fmt.Sprintf("did user %q have two sessions at the same time", q.User)
	if q.UnusualOnly {
		text += ", one of them from an unusual address"
	}
	if !q.From.IsZero() {
		text += ", from " + stamp(q.From)
	}
	if !q.To.IsZero() {
		text += ", up to " + stamp(q.To)
	}
	return text + "?"
}

func pairRow(p *investigate.Pair) row {
	return row{
		cells: []any{p.From, p.To, p.A.ID, p.A.IP, p.UnusualA, p.B.ID, p.B.IP, p.UnusualB, p.Verdict.String()},
		text:  fmt.Sprintf("%s from %s and %s from %s, %s to %s", p.A.ID, p.A.IP, p.B.ID, p.B.IP, stamp(p.From), stamp(p.To)),
		refs:  []investigate.Ref{p.A.BeginRef, p.A.EndRef, p.B.BeginRef, p.B.EndRef},
	}
}

// placeFile is a list of networks and where they are.
type placeFile map[netip.Prefix]string

func readPlaces(name string) (placeFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	places := make(placeFile)
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		network, place, _ := strings.Cut(line, " ")
		p, err := netip.ParsePrefix(network)
		if err != nil || strings.TrimSpace(place) == "" {
			return nil, usageError("%s: %q is not a network and a place", name, line)
		}
		places[p.Masked()] = strings.TrimSpace(place)
	}
	return places, nil
}

// Locate returns the place of the smallest network that has the address.
func (f placeFile) Locate(a netip.Addr) (place string, ok bool) {
	a = a.Unmap().WithZone("")
	for bits := a.BitLen(); bits >= 0; bits-- {
		if p, err := a.Prefix(bits); err == nil {
			if place, ok := f[p]; ok {
				return place, true
			}
		}
	}
	return "", false
}
