package redisregistry_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/internal/redistest"
	"github.com/scsguard/scsguard/redisregistry"
	"github.com/scsguard/scsguard/registrytest"
	"github.com/scsguard/scsguard/storetest"
)

var prefixes atomic.Int64

// emptyPrefix is one that nobody has used yet.
func emptyPrefix() redisregistry.Option {
	return redisregistry.Prefix(fmt.Sprintf("test%d:", prefixes.Add(1)))
}

// leakChecked looks at all keys of the server after each check.
type leakChecked struct {
	*redisregistry.Registry
	server *redistest.Server
}

func (r leakChecked) CheckLeak(ctx context.Context) error {
	c, err := r.server.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := redistest.Immortal(ctx, c)
	if err == nil && len(keys) > 0 {
		err = fmt.Errorf("%d keys without a time to live: %s", len(keys), strings.Join(keys, ", "))
	}
	return err
}

func TestTheRegistryKeepsItsContractOnRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pool := server.Pool()
	registrytest.Run(t, func(t *testing.T) scsguard.Registry {
		return leakChecked{redisregistry.New(pool, emptyPrefix()), server}
	})
}

func TestTheStoreKeepsItsContractOnRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	pool := server.Pool()
	storetest.Run(t, func(t *testing.T) scs.Store { return redisregistry.NewStore(pool, emptyPrefix()) })
}
