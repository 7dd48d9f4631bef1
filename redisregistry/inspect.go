package redisregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/scsguard/scsguard"
)

// Inspect finds fault with the prefix, with a Redis that is a replica, and with one that
// evicts keys when its memory is full: it would forget who is logged in, and before when
// logins are refused.
func (r *Registry) Inspect(ctx context.Context) (faults []scsguard.FieldError, err error) {
	if r.wrong != "" {
		return []scsguard.FieldError{{Field: "Registry: redisregistry.Prefix", Value: fmt.Sprintf("%q", r.prefix), Problem: "it " + r.wrong, Cure: "choose another one"}}, nil
	}
	err = r.with(ctx, func(l *link) error {
		replies, err := l.pipeline(command{"INFO", []any{"memory"}}, command{"INFO", []any{"replication"}})
		if err != nil {
			return err
		}
		memory, memoryErr := redis.String(replies[0], nil)
		replication, err := redis.String(replies[1], nil)
		faults = follows(replication)
		if r.evictionAllowed {
			return nil // and Redis need not tell everybody of itself
		}
		faults = append(faults, evicts(memory)...)
		return errors.Join(memoryErr, err)
	})
	return faults, err
}

// evicts judges what INFO says. Every key here has a time to live, so that the
// volatile policies take them as well.
func evicts(info string) []scsguard.FieldError {
	settings := infoOf(info)
	policy := settings["maxmemory_policy"]
	if policy == "noeviction" || policy == "" || settings["maxmemory"] == "0" {
		return nil
	}
	return []scsguard.FieldError{{
		Field: "Registry: maxmemory-policy of Redis", Value: policy,
		Problem: "when its memory is full, sessions would end without a trace and logins that were refused would be let in",
		Cure:    "set it to noeviction and give what may be evicted a Redis of its own, or say in redisregistry.AllowEviction why that is acceptable",
	}}
}

// follows judges what INFO says of replication.
func follows(info string) []scsguard.FieldError {
	if role := infoOf(info)["role"]; role == "" || role == "master" {
		return nil
	}
	return []scsguard.FieldError{{
		Field: "Registry: role of Redis", Value: "replica",
		Problem: "it takes no logins and no logouts, and what it says is old: a session that has ended may live there for a while",
		Cure:    "let the pool lead to the primary; docs/redis.md shows how to ask Sentinel for it",
	}}
}

// infoOf reads an answer of INFO.
func infoOf(info string) map[string]string {
	values := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			values[name] = value
		}
	}
	return values
}
