package redisregistry

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// Inspect finds fault with the settings of Redis. fault says what has to be changed,
// and err that it could not be asked. A Redis that evicts keys would forget who is
// logged in, and before when logins are refused.
func (r *Registry) Inspect(ctx context.Context) (fault, err error) {
	if err := r.usable(); err != nil {
		return err, nil
	}
	err = r.reading(ctx, func(l *link) error {
		info, err := redis.String(l.do("INFO", "memory"))
		if err != nil {
			return err
		}
		fault = evicts(info)
		return nil
	})
	return fault, err
}

// evicts judges what INFO says. Every key here has a time to live, so that the
// volatile policies take them as well.
func evicts(info string) error {
	settings := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			settings[name] = value
		}
	}
	policy := settings["maxmemory_policy"]
	if policy == "noeviction" || policy == "" || settings["maxmemory"] == "0" {
		return nil
	}
	return fmt.Errorf("scsguard: Redis evicts keys when its memory is full (maxmemory-policy is %s), "+
		"so sessions would end without a trace and logins that were refused would be let in; "+
		"set maxmemory-policy to noeviction, and give what may be evicted a Redis of its own", policy)
}
