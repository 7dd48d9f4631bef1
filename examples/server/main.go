// Command server is an application to read: a small bank with users, sessions
// and an administration, on net/http and alexedwards/scs, guarded by scsguard.
// It serves http://127.0.0.1:4000, pages to browsers and JSON to everybody else,
// and keeps its sealed trail in ./data/trail. Begin to read in routes.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/auditlog"
)

// options are what the command line decides.
type options struct {
	addr     string
	timeouts scsguard.Timeouts
	limit    scsguard.Limit
	profile  scsguard.Profile
	binding  scsguard.BindingMode // of all signals; zero: the library's defaults
	proxies  []netip.Prefix
	trail    string
	anchor   string
	redis    string // empty: sessions are in memory
	key      string
	hashing  int // iterations of the password hash; no flag, tests make it cheap
}

func main() {
	o := options{hashing: iterations}
	flag.StringVar(&o.addr, "addr", "127.0.0.1:4000", "`host:port` to serve on")
	flag.DurationVar(&o.timeouts.Idle, "idle", 15*time.Minute, "end a session this long after its last activity")
	flag.DurationVar(&o.timeouts.Absolute, "absolute", 8*time.Hour, "end a session this long after its login")
	flag.DurationVar(&o.timeouts.Touch, "touch", 0, "record activity at most this often; 0 is a fifteenth of -idle, at most a minute")
	flag.IntVar(&o.limit.Max, "max-sessions", 3, "largest number of sessions of one user; 0 is no limit")
	flag.TextVar(&o.limit.OnExceed, "on-limit", scsguard.Warn, "what happens to a login beyond -max-sessions, a `word`: warn, deny or evict")
	flag.TextVar(&o.profile, "profile", o.profile, "the `standard` whose numbers hold, and that refuses what breaks it: pci, nist-aal2, nist-aal2-rev3, nist-aal3, owasp-high-value, psd2")
	flag.TextVar(&o.binding, "binding", o.binding, "what happens when another device uses a session, a `word`: off, log, stepup, end, or default")
	flag.Func("trusted-proxies", "`CIDR,...` of the proxies whose Forwarded and X-Forwarded-For headers are believed", func(s string) error {
		for cidr := range strings.SplitSeq(s, ",") {
			p, err := netip.ParsePrefix(cidr)
			if err != nil {
				return err
			}
			o.proxies = append(o.proxies, p)
		}
		return nil
	})
	flag.StringVar(&o.trail, "trail", "./data/trail", "`directory` of the sealed trail, or - for lines on standard output that nothing seals")
	flag.StringVar(&o.anchor, "anchor", "./data/anchor", "`directory` that remembers how long the trail was; keep it where the server cannot change what is there")
	flag.StringVar(&o.redis, "redis", "", "keep sessions in the Redis at this `address`, host:port or redis://..., and share them with other servers")
	flag.StringVar(&o.key, "key", "./data/key", "`file` with the secret that servers on one Redis share; made if it is missing")
	flag.Parse()
	o.leaveToProfile(flag.CommandLine)

	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	ln, err := net.Listen("tcp", o.addr)
	if err == nil {
		fmt.Fprintf(os.Stderr, banner, ln.Addr())
		err = serve(ctx, ln, o, log)
	}
	if err != nil {
		log.Error("the server has stopped", "err", err)
		os.Exit(1)
	}
}

// leaveToProfile forgets the defaults of the flags that a profile decides about,
// unless they were given.
func (o *options) leaveToProfile(flags *flag.FlagSet) {
	if o.profile == scsguard.ProfileNone {
		return
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["idle"] {
		o.timeouts.Idle = 0
	}
	if !given["absolute"] {
		o.timeouts.Absolute = 0
	}
	if !given["max-sessions"] && !given["on-limit"] {
		o.limit = scsguard.Limit{}
	}
}

const banner = `A demo, with the users alice, bob, carol and admin. The password of each is "demo".
Open http://%s in Chromium or Firefox, or use curl.
Safari needs HTTPS in front of the server: it drops Secure cookies that come over http://.
`

// serve runs the application until ctx is done, and then lets it finish what it
// has begun.
func serve(ctx context.Context, ln net.Listener, o options, log *slog.Logger) error {
	defer ln.Close()
	trail, closeTrail, err := openTrail(o, log)
	if err != nil {
		return err
	}
	a, err := newApp(scs.New(), trail, o, log)
	if err != nil {
		return errors.Join(err, closeTrail())
	}
	srv := &http.Server{
		Handler:           a.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		// A request older than ReadTimeout has its context cancelled, so it is
		// longer than the slowest answer.
		ReadTimeout:    longestWait + 15*time.Second,
		WriteTimeout:   longestWait + 15*time.Second,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 32 << 10,
	}
	srv.RegisterOnShutdown(func() { close(a.stopping) }) // streams would never end by themselves
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		if err = within(10*time.Second, srv.Shutdown); err != nil {
			err = errors.Join(err, srv.Close()) // cuts off those who are still waiting
		}
	}
	// After the last request the guard ends the sessions that are left, and
	// writes into the trail that it did.
	return errors.Join(err, within(10*time.Second, a.guard.Close), closeTrail())
}

func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
}

// openTrail begins a stream of the sealed trail. Its keys are made at the first
// start. An application keeps the anchor on another machine, or under another
// account: whoever can change both can cut off the end unseen.
func openTrail(o options, log *slog.Logger) (scsguard.Sink, func() error, error) {
	if o.trail == "-" {
		return scsguard.NewWriterSink(os.Stdout), func() error { return nil }, nil
	}
	root, name, key, err := auditlog.KeyFiles(filepath.Join(filepath.Dir(o.trail), "keys"), "bank")
	if err != nil {
		return nil, nil, err
	}
	trail, err := auditlog.Open(auditlog.Config{
		Dir: o.trail, Root: root, RootName: name, Anchors: []auditlog.Anchor{auditlog.FileAnchor(o.anchor)},
		OnAlarm: func(a auditlog.Alarm) { log.Error("somebody has to look at the trail", "alarm", a) },
	})
	if err != nil {
		return nil, nil, err
	}
	log.Info("the trail is sealed", "directory", o.trail, "anchor", o.anchor, "verification key", key)
	return trail, trail.Close, nil
}
