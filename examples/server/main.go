// Command server is an application to read: a small bank with users, sessions
// and an administration, on net/http and alexedwards/scs, guarded by scsguard.
// It serves http://127.0.0.1:4000, pages to browsers and JSON to everybody else,
// and keeps the trail in ./data/trail. Begin to read in routes.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// options are what the command line decides.
type options struct {
	addr     string
	timeouts scsguard.Timeouts
	limit    scsguard.Limit
	trail    string
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
	flag.StringVar(&o.trail, "trail", "./data/trail", "`directory` of trail.jsonl, or - for standard output")
	flag.Parse()

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

// The session cookie is Secure. Chromium, Firefox and curl send such a cookie
// over plain HTTP to loopback addresses all the same. Safari is known not to.
const banner = `A demo, with the users alice, bob, carol and admin. The password of each is "demo".
Open http://%s in Chromium or Firefox, or use curl.
Safari needs HTTPS in front of the server: it drops Secure cookies that come over http://.
`

// serve runs the application until ctx is done, and then lets it finish what it
// has begun.
func serve(ctx context.Context, ln net.Listener, o options, log *slog.Logger) error {
	defer ln.Close()
	trail, err := openTrail(o.trail)
	if err != nil {
		return err
	}
	defer trail.Close()
	a, err := newApp(scs.New(), scsguard.NewWriterSink(trail), o, log)
	if err != nil {
		return err
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
	return errors.Join(err, within(10*time.Second, a.guard.Close))
}

func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
}

// openTrail opens the file that the trail is appended to. Only the user who runs
// the server may read it: it tells who was where and when.
func openTrail(dir string) (io.WriteCloser, error) {
	if dir == "-" {
		return standardOutput{os.Stdout}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "trail.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// standardOutput is the process's, not ours to close.
type standardOutput struct{ *os.File }

func (standardOutput) Close() error { return nil }
