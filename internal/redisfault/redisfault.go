// Package redisfault says what an error of a connection to Redis means.
package redisfault

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// Replica reports whether Redis has refused to write because it is a replica. It was the
// primary, and nobody has closed its connections: this one must not be used again, since
// what is read on it is old.
func Replica(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused) && strings.Contains(string(refused), "READONLY")
}

// Stale reports whether an error is that of a connection which the other side has
// closed. One that cannot be dialled, or does not answer, is none.
func Stale(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "dial" && !op.Timeout()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// StaleConnections is how many connections in a row may turn out to be of a server
// that is gone, as after its restart. Each that does leaves the pool.
const StaleConnections = 1000
