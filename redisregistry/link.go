package redisregistry

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// A Pool hands out connections. *redis.Pool is one. Give it a DialContext, so that
// a server that does not answer costs no longer than the context allows.
type Pool interface {
	GetContext(ctx context.Context) (redis.Conn, error)
}

// server is what registries of all namespaces, and a store, share.
type server struct {
	pool  Pool
	clock clock
}

// link is one connection for the time of one call.
type link struct {
	*server
	ctx  context.Context
	conn redis.Conn
	off  offset
	now  time.Time // Redis's, as of its last answer that said so
	// answered says that Redis has answered something.
	answered bool
}

// connect gets a connection. A pool may dial without a look at the context, so it is
// not waited for any longer than that allows.
func (s *server) connect(ctx context.Context) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p, ok := s.pool.(*redis.Pool); ok && p.DialContext != nil && p.TestOnBorrow == nil {
		conn, err := p.GetContext(ctx)
		return s.connected(ctx, conn, err)
	}
	type result struct {
		conn redis.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		conn, err := s.pool.GetContext(ctx)
		got <- result{conn, err}
	}()
	select {
	case r := <-got:
		return s.connected(ctx, r.conn, r.err)
	case <-ctx.Done():
		go func() {
			if r := <-got; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, fmt.Errorf("scsguard: no connection to Redis: %w", ctx.Err())
	}
}

func (s *server) connected(ctx context.Context, conn redis.Conn, err error) (*link, error) {
	if err == nil {
		err = conn.Err()
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, fmt.Errorf("scsguard: no connection to Redis: %w", err)
	}
	return &link{server: s, ctx: ctx, conn: conn}, nil
}

func (l *link) close() { _ = l.conn.Close() } // what it could report was reported by the calls

// staleConnections is how many connections in a row may turn out to be of a server
// that is gone. Each that does leaves the pool.
const staleConnections = 1000

// with runs f with a connection, and with another one if the first thing that f asked
// found it closed by the other side: after a restart of Redis a pool is full of those,
// and each would cost a visitor an error. What f asks first changes nothing, or may be
// done twice.
func (s *server) with(ctx context.Context, f func(*link) error) error {
	var err error
	for range staleConnections {
		var l *link
		if l, err = s.connect(ctx); err != nil {
			return err
		}
		err = f(l)
		l.close()
		if err == nil || l.answered || ctx.Err() != nil || !isStale(err) {
			return err
		}
	}
	return err
}

// isStale reports whether an error is that of a connection which the other side has
// closed. One that cannot be dialled, or does not answer, is none.
func isStale(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "dial" && !op.Timeout()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// do runs one command.
func (l *link) do(command string, args ...any) (any, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	v, err := l.send(command, args...)
	l.answered = l.answered || err == nil
	return v, err
}

// send waits for the answer until the deadline of the context. A context that is
// cancelled before is waited for as well if it has a deadline: to watch it would cost
// every call a goroutine, and Redis has the command already.
func (l *link) send(command string, args ...any) (any, error) {
	if deadline, ok := l.ctx.Deadline(); ok {
		if c, ok := l.conn.(redis.ConnWithTimeout); ok {
			v, err := c.DoWithTimeout(max(time.Until(deadline), time.Microsecond), command, args...)
			if err != nil && !time.Now().Before(deadline) {
				err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
			}
			return v, err
		}
	}
	if c, ok := l.conn.(redis.ConnWithContext); ok && l.ctx.Done() != nil {
		return c.DoContext(l.ctx, command, args...)
	}
	return l.conn.Do(command, args...)
}

// timed is do for what answers with Redis's time as its last two elements, as
// strings of seconds and microseconds.
func (l *link) timed(do func() ([]any, error)) ([]any, error) {
	sent := time.Now()
	reply, err := do()
	if err != nil {
		return nil, err
	}
	if len(reply) < 2 {
		return nil, errAnswer
	}
	n := len(reply) - 2
	seconds, err := redis.Int64(reply[n], nil)
	if err != nil {
		return nil, errAnswer
	}
	micros, err := redis.Int64(reply[n+1], nil)
	if err != nil {
		return nil, errAnswer
	}
	l.now = time.Unix(seconds, micros*int64(time.Microsecond)).UTC()
	l.off = l.clock.observe(sent, time.Now(), l.now)
	return reply[:n], nil
}

var errAnswer = errors.New("scsguard: Redis answers something else than the script should")

// A script is Lua that Redis keeps under its hash.
type script struct {
	name, source string
	hash         string
}

func newScript(name string, parts ...string) script {
	source := strings.Join(parts, "\n")
	return script{name, source, redis.NewScript(1, source).Hash()}
}

// run runs a script on one key.
func (l *link) run(s script, key string, args ...any) (any, error) {
	all := append([]any{s.hash, 1, key}, args...)
	v, err := l.do("EVALSHA", all...)
	if isUnknown(err) {
		all[0] = s.source
		v, err = l.do("EVAL", all...)
	}
	if err != nil {
		return nil, fmt.Errorf("scsguard: %s: %w", s.name, err)
	}
	return v, nil
}

// isUnknown reports whether Redis does not have the script.
func isUnknown(answer any) bool {
	err, _ := answer.(error)
	var refused redis.Error
	return errors.As(err, &refused) && strings.HasPrefix(string(refused), "NOSCRIPT")
}

// runAll runs a script on several keys. No run relies on another one.
func (l *link) runAll(s script, keys []string, args ...any) ([]any, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	first, err := l.run(s, keys[0], args...) // Redis has the script from here on, unless somebody flushes it
	if err != nil {
		return nil, err
	}
	commands := make([]command, len(keys)-1)
	for i, key := range keys[1:] {
		commands[i] = command{"EVALSHA", append([]any{s.hash, 1, key}, args...)}
	}
	rest, err := l.pipeline(commands...)
	for i := 0; err == nil && i < len(rest); i++ {
		if isUnknown(rest[i]) {
			rest[i], err = l.run(s, keys[i+1], args...)
		}
	}
	return append([]any{first}, rest...), err
}

// ask runs a script that answers with a list and Redis's time.
func (l *link) ask(s script, key string, args ...any) ([]any, error) {
	return l.timed(func() ([]any, error) { return redis.Values(l.run(s, key, args...)) })
}

// A command is one of several that are sent at once. None of them may change
// anything that another one relies on.
type command struct {
	name string
	args []any
}

// pipeline sends commands at once, and TIME after them. Errors that Redis answers are
// among the answers.
func (l *link) pipeline(commands ...command) ([]any, error) {
	return l.timed(func() ([]any, error) {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		for _, c := range commands {
			if err := l.conn.Send(c.name, c.args...); err != nil {
				return nil, err
			}
		}
		if err := l.conn.Send("TIME"); err != nil {
			return nil, err
		}
		// From here on the answers have to be taken, or the connection given up: else the
		// pool would take them, however long that takes.
		replies, err := redis.Values(l.send(""))
		if err != nil {
			return nil, err
		}
		l.answered = true
		last, err := redis.Values(replies[len(replies)-1], nil)
		if err != nil {
			return nil, err
		}
		return append(replies[:len(replies)-1], last...), nil
	})
}

//go:embed lua/record.lua
var recordLua string

var recordScript = newScript("record", recordLua)

// read returns what lies under keys of records, each in its state of this moment.
func (l *link) read(ks keyspace, keys ...scsguard.Key) ([]stored, error) {
	commands := make([]command, len(keys))
	for i, key := range keys {
		commands[i] = command{"GET", []any{ks.record(key)}}
	}
	replies, err := l.pipeline(commands...)
	if err != nil {
		return nil, err
	}
	list := make([]stored, len(keys))
	for i, key := range keys {
		raw, err := bytesOrNil(replies[i], nil)
		if err != nil {
			return nil, err
		}
		list[i] = decode(key, raw)
	}
	for i := range list {
		if list[i].parent == "" {
			continue
		}
		if list[i], err = l.promoted(ks, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func bytesOrNil(reply any, err error) ([]byte, error) {
	raw, err := redis.Bytes(reply, err)
	if errors.Is(err, redis.ErrNil) {
		return nil, nil
	}
	return raw, err
}

// promoted asks the old key whether the session has come: then it lives here,
// whether or not who moved it has come to say so.
func (l *link) promoted(ks keyspace, s stored) (stored, error) {
	raw, err := bytesOrNil(l.do("GET", ks.record(s.parent)))
	if err != nil {
		return s, err
	}
	if old := decode(s.parent, raw); old.rec.State == scsguard.StateMoved && old.rec.Successor == s.key {
		s.parent = ""
	}
	return s, nil
}

// look returns what lies under one key.
func (l *link) look(ks keyspace, key scsguard.Key) (stored, error) {
	list, err := l.read(ks, key)
	if err != nil {
		return stored{}, err
	}
	return list[0], nil
}

// present follows a session to its present key.
func (l *link) present(ks keyspace, s stored) (stored, error) {
	for s.rec.State == scsguard.StateMoved && l.ctx.Err() == nil {
		next, err := l.look(ks, s.rec.Successor)
		if err != nil || !next.there() {
			return s, err
		}
		s = next
	}
	return s, l.ctx.Err()
}

// swap puts next in the place of what was read, unless that has changed: then it
// returns what is there now. next without raw is nothing. tell publishes it.
func (l *link) swap(ks keyspace, was, next stored, tell bool) (now stored, swapped bool, err error) {
	var value []byte
	if next.raw != nil {
		if value, err = next.encode(); err != nil {
			return was, false, err
		}
	}
	channel := ""
	if tell {
		channel = ks.channel()
	}
	reply, err := l.ask(recordScript, ks.record(was.key), was.raw, value, next.ttl(l.now).Milliseconds(), channel, string(was.key))
	if err != nil {
		return was, false, err
	}
	if len(reply) != 2 {
		return was, false, errAnswer
	}
	current, err := bytesOrNil(reply[1], nil)
	if err != nil {
		return was, false, err
	}
	if done, _ := redis.Int(reply[0], nil); done == 1 {
		next.key, next.raw = was.key, value
		return next, true, nil
	}
	if len(current) == 0 {
		current = nil
	}
	now = decode(was.key, current)
	if now.parent != "" {
		now, err = l.promoted(ks, now)
	}
	return now, false, err
}

// change swaps until it has done what f wants: f changes the record it is given, and
// says whether that is to be written.
func (l *link) change(ks keyspace, s stored, f func(*stored) (write bool, err error)) (stored, bool, error) {
	for {
		next := s
		write, err := f(&next)
		if err != nil || !write {
			return s, false, err
		}
		now, swapped, err := l.swap(ks, s, next, false)
		if err != nil || swapped {
			return now, swapped, err
		}
		s = now
	}
}

// new marks a record that is to be written where nothing is.
var fresh = []byte{}
