package redisregistry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/guardtest"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
)

// Several server processes on one Redis: this test program itself, started again.

const processEnv = "SCSGUARD_TEST_SERVER"

// processConfig is what a server process is told by its environment.
type processConfig struct {
	Redis, Trail string
	Idle         time.Duration
	Max          int
	OnExceed     scsguard.OnExceed
	SweepEvery   time.Duration
}

func TestMain(m *testing.M) {
	if told := os.Getenv(processEnv); told != "" {
		if err := serveProcess(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveProcess serves until it is killed. It writes its address to standard output.
func serveProcess(told string) error {
	var cfg processConfig
	if err := json.Unmarshal([]byte(told), &cfg); err != nil {
		return err
	}
	trail, err := os.OpenFile(cfg.Trail, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	pool := &redis.Pool{MaxIdle: 64, DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", cfg.Redis) }}
	sm := guardtest.NewManager()
	sm.Store = redisregistry.NewStore(pool)
	guard, err := scsguard.New(sm, scsguard.Config{
		Timeouts: scsguard.Timeouts{Idle: cfg.Idle, Absolute: time.Hour, Touch: cfg.Idle / 15},
		Limit:    scsguard.Limit{Max: cfg.Max, OnExceed: cfg.OnExceed},
		Registry: redisregistry.New(pool), Keys: testKeys, Audit: scsguard.NewWriterSink(trail), SweepEvery: cfg.SweepEvery,
		CallTimeout: scsguard.Lease / 2, // the race detector makes hundreds of logins at once slow, and 503 says nothing of the cap
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := guard.Login(r.Context(), r.FormValue("user")); err != nil {
			status := http.StatusConflict
			if errors.Is(err, scsguard.ErrUnavailable) {
				status = http.StatusServiceUnavailable
			}
			http.Error(w, err.Error(), status)
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return http.Serve(ln, guard.Protect(mux))
}

// process is a server process of the test, which it may kill.
type process struct {
	t    *testing.T
	cfg  processConfig
	cmd  *exec.Cmd
	addr string
}

func startProcess(t *testing.T, cfg processConfig) *process {
	t.Helper()
	p := &process{t: t, cfg: cfg}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	told, err := json.Marshal(p.cfg)
	require.NoError(p.t, err)
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), processEnv+"="+string(told)), os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(p.t, err, "the server process does not come up")
	p.addr = strings.TrimSpace(line)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) login(user string) int {
	res, err := http.Get("http://" + p.addr + "/login?user=" + user)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// trailEvent is what the tests read of a line of the trail.
type trailEvent struct {
	ID, Event, Session, Reason, User string
	Due                              time.Time
	Time                             time.Time
}

// trails reads those of all processes. A line that a killed process has not finished is
// none: it was not durable, and nobody has relied on it.
func trails(t *testing.T, processes []*process) (events []trailEvent) {
	t.Helper()
	for _, p := range processes {
		b, err := os.ReadFile(p.cfg.Trail)
		require.NoError(t, err)
		for line := range strings.Lines(string(b)) {
			var e trailEvent
			if json.Unmarshal([]byte(line), &e) == nil {
				events = append(events, e)
			}
		}
	}
	return events
}

func processesOn(t *testing.T, server *redistest.Server, cfg processConfig) []*process {
	t.Helper()
	folder := t.TempDir()
	list := make([]*process, 4)
	for i := range list {
		cfg.Redis, cfg.Trail = server.Addr, filepath.Join(folder, fmt.Sprintf("trail%d", i))
		list[i] = startProcess(t, cfg)
	}
	return list
}

// observe counts who is alive, again and again: who was in two lists in a row was alive
// in between, since nobody comes back.
func observe(t *testing.T, reg scsguard.Registry, user string, stop <-chan struct{}) (most, samples int) {
	before := make(map[string]bool)
	for {
		list, err := reg.List(ctx, user)
		require.NoError(t, err)
		now, both := make(map[string]bool), 0
		for _, rec := range list {
			now[rec.Session] = true
			if before[rec.Session] {
				both++
			}
		}
		before, most = now, max(most, both)
		samples++
		select {
		case <-stop:
			if samples >= 1000 {
				return most, samples
			}
		case <-time.After(5 * time.Millisecond): // the processes need Redis, too
		}
	}
}

func TestFourProcessesNeverExceedTheCap(t *testing.T) {
	for _, mode := range []scsguard.OnExceed{scsguard.Deny, scsguard.EvictOldest, scsguard.Warn} {
		t.Run(mode.String(), func(t *testing.T) {
			server := startRedis(t)
			processes := processesOn(t, server, processConfig{Idle: time.Hour, Max: most, OnExceed: mode, SweepEvery: 200 * time.Millisecond})
			// On a machine that has too much to do some logins are answered 503, which is
			// all right, but says nothing about how many there should be. Then fewer come at
			// once. That nobody exceeds the cap holds all the same.
			for _, atOnce := range []int{logins, logins / 4, logins / 16, 4, 1} {
				if crowdOf(t, server, processes, mode, fmt.Sprintf("user%d", atOnce), atOnce) {
					return
				}
				t.Logf("%d logins at once are more than this machine can do in time", atOnce)
			}
			require.Fail(t, "a login takes longer than it may, though it is the only one")
		})
	}
}

const logins, most = 400, 3

// crowdOf logs a user in, many at once, and looks at who is alive meanwhile. It reports
// whether all logins were answered in time.
func crowdOf(t *testing.T, server *redistest.Server, processes []*process, mode scsguard.OnExceed, user string, atOnce int) bool {
	reg := redisregistry.New(server.Pool())
	stop := make(chan struct{})
	var looking, requests sync.WaitGroup
	var alive, samples int
	if mode != scsguard.Warn { // there is no limit to see
		looking.Go(func() { alive, samples = observe(t, reg, user, stop) })
	}
	var admitted, denied, late atomic.Int32
	slots := make(chan struct{}, atOnce)
	for i := range logins {
		requests.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			switch processes[i%len(processes)].login(user) {
			case http.StatusOK:
				admitted.Add(1)
			case http.StatusConflict:
				denied.Add(1)
			default:
				late.Add(1)
			}
		})
	}
	requests.Wait()
	close(stop)
	looking.Wait()
	if mode != scsguard.Warn {
		require.LessOrEqual(t, alive, most, "in %d samples", samples)
	}
	if late.Load() > 0 {
		return false
	}
	list, err := reg.List(ctx, user)
	require.NoError(t, err)
	evicted := make(map[string]bool)
	require.Eventually(t, func() bool { // an ending is written a moment after it
		for _, e := range trails(t, processes) {
			if e.User == user && e.Event == "logout" && e.Reason == "evicted" {
				evicted[e.ID] = true
			}
		}
		return mode != scsguard.EvictOldest || len(evicted) >= logins-most
	}, time.Minute, 100*time.Millisecond)
	t.Logf("%d at once: %d admitted, %d denied, %d evicted, at most %d alive in %d samples", atOnce, admitted.Load(), denied.Load(), len(evicted), alive, samples)
	switch mode {
	case scsguard.Deny:
		require.EqualValues(t, most, admitted.Load())
		require.Len(t, list, most)
	case scsguard.EvictOldest: // whoever is evicted before his login is complete is told so
		require.Len(t, evicted, logins-most)
		require.Len(t, list, most)
	case scsguard.Warn:
		require.EqualValues(t, logins, admitted.Load())
		require.Len(t, list, logins)
	}
	return true
}

func TestEveryTimeoutIsRecordedOnceThoughProcessesAreKilledInTheMiddleOfSweeps(t *testing.T) {
	const sessions = 100
	const idle = 4 * time.Second // longer than a loaded machine takes for a login
	server := startRedis(t)
	processes := processesOn(t, server, processConfig{Idle: idle, SweepEvery: 10 * time.Millisecond})
	reg := redisregistry.New(server.Pool())
	var mu sync.Mutex
	due := make(map[string]time.Time)
	var last time.Time
	var requests sync.WaitGroup
	for p := range processes {
		requests.Go(func() {
			for i := p; i < sessions; i += len(processes) {
				user := fmt.Sprintf("user%d", i)
				require.Equal(t, http.StatusOK, processes[p].login(user))
				list, err := reg.List(ctx, user) // at once: a while later it is over
				require.NoError(t, err)
				require.Len(t, list, 1)
				at, _ := list[0].Due()
				mu.Lock()
				due[list[0].Session] = at
				if at.After(last) {
					last = at
				}
				mu.Unlock()
			}
		})
	}
	requests.Wait()
	require.Len(t, due, sessions)
	kills := 0
	for end := last.Add(time.Second); time.Now().Before(end); kills++ {
		p := processes[rand.IntN(len(processes))]
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		p.kill()
		p.start()
	}
	recorded := make(map[string]trailEvent)
	written := 0
	require.Eventually(t, func() bool {
		clear(recorded)
		written = 0
		for _, e := range trails(t, processes) {
			if e.Event == "timeout" {
				recorded[e.ID] = e
				written++
			}
		}
		return len(recorded) >= sessions
	}, time.Minute, 100*time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	t.Logf("%d kills, %d timeouts written, %d of them different", kills, written, len(recorded))
	require.Len(t, recorded, sessions)
	for _, e := range recorded {
		require.Equal(t, string(scsguard.EndIdle), e.Reason)
		require.WithinDuration(t, due[e.Session], e.Due, 500*time.Millisecond, "it was due when it was due, and not when it was found")
	}
}
