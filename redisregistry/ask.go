package redisregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

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

// learn learns what time it is in Redis from an answer to a question asked at sent.
func (l *link) learn(sent time.Time, answer []any) error {
	if len(answer) != 2 {
		return errAnswer
	}
	seconds, err := redis.Int64(answer[0], nil)
	if err != nil {
		return errAnswer
	}
	micros, err := redis.Int64(answer[1], nil)
	if err != nil {
		return errAnswer
	}
	l.now = time.Unix(seconds, micros*int64(time.Microsecond)).UTC()
	l.off = l.clock.observe(sent, time.Now(), l.now)
	return nil
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

// A scriptCall is what one of several runs of a script works on.
type scriptCall struct {
	key  string
	args []any
}

// runTogether is runEach of a script that takes the arguments of several calls one after
// the other, so that it runs once for each key.
func (l *link) runTogether(s script, calls []scriptCall) ([]any, error) {
	return l.runEach(s, together(calls))
}

// together makes one call of those with the same key.
func together(calls []scriptCall) []scriptCall {
	at := make(map[string]int) // where in all
	var all []scriptCall
	for _, c := range calls {
		i, ok := at[c.key]
		if !ok {
			i = len(all)
			at[c.key], all = i, append(all, scriptCall{key: c.key})
		}
		all[i].args = append(all[i].args, c.args...)
	}
	return all
}

// runEach runs a script several times, on as many keys, in one round trip if Redis has the
// script. No run relies on another one. An error that Redis answers to one of them is
// returned when all were run.
func (l *link) runEach(s script, calls []scriptCall) ([]any, error) {
	replies := make([]any, len(calls))
	todo := make([]int, len(calls)) // where in calls
	for i := range todo {
		todo[i] = i
	}
	var refused refusals
	for len(todo) > 0 {
		commands := make([]command, len(todo))
		for j, i := range todo {
			commands[j] = command{"EVALSHA", append([]any{s.hash, 1, calls[i].key}, calls[i].args...)}
		}
		answers, err := l.pipeline(commands...)
		if err != nil {
			return nil, err
		}
		var unknown []int
		for j, i := range todo {
			replies[i] = answers[j]
			err, failed := replies[i].(redis.Error)
			switch {
			case isUnknown(err):
				unknown = append(unknown, i)
			case failed:
				if err := refused.spare(fmt.Errorf("scsguard: %s: %w", s.name, err)); err != nil {
					return nil, err
				}
			}
		}
		if todo = unknown; len(todo) > 0 { // one goes ahead: Redis has the script then, unless somebody flushes it
			i := todo[0]
			replies[i], err = l.run(s, calls[i].key, calls[i].args...)
			if err = refused.spare(err); err != nil {
				return nil, err
			}
			todo = todo[1:]
		}
	}
	return replies, refused.first
}

// ask runs a script that answers with a list and, as its last two elements, Redis's time
// in strings of seconds and microseconds.
func (l *link) ask(s script, key string, args ...any) ([]any, error) {
	sent := time.Now()
	reply, err := redis.Values(l.run(s, key, args...))
	if err != nil {
		return nil, err
	}
	n := max(len(reply)-2, 0)
	return reply[:n], l.learn(sent, reply[n:])
}

// each runs commands, all in one round trip, and returns an error that Redis answers to
// one of them when all were run.
func (l *link) each(commands ...command) error {
	if len(commands) == 0 {
		return nil
	}
	replies, err := l.pipeline(commands...)
	if err != nil {
		return err
	}
	for _, reply := range replies {
		if refused, ok := reply.(redis.Error); ok {
			return refused
		}
	}
	return nil
}

// A command is one of several that are sent at once. None of them may change
// anything that another one relies on.
type command struct {
	name string
	args []any
}

// pipeline sends commands at once, and TIME after them. Errors that Redis answers are
// among the answers.
//
// It is on the path of every request. TIME is asked for although this process could
// count on from the last answer: it would be wrong for as long as it did after its
// machine, or Redis's, had stood still, and saves a twentieth of a request to a Redis on
// the same machine.
func (l *link) pipeline(commands ...command) ([]any, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	sent := time.Now()
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
	if len(replies) != len(commands)+1 {
		return nil, errAnswer
	}
	l.answered = true
	now, err := redis.Values(replies[len(commands)], nil)
	if err != nil {
		return nil, err
	}
	return replies[:len(commands)], l.learn(sent, now)
}
