package redisregistry

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"

	"github.com/scsguard/scsguard"
)

// defaultPrefix is that of scs/redisstore.
const defaultPrefix = "scs:session:"

// keyspace names the keys of one namespace.
type keyspace struct {
	prefix string // of session data
	ns     string // escaped, so that it holds no delimiter
	own    string // what the keys of the registry begin with
}

func newKeyspace(prefix, namespace string) keyspace {
	k := keyspace{prefix: prefix, ns: url.QueryEscape(namespace)}
	if prefix != defaultPrefix {
		k.own = "scsguard@" + url.QueryEscape(prefix) + ":" + k.ns + ":"
	} else {
		k.own = "scsguard:" + k.ns + ":"
	}
	return k
}

// prefixProblem says why a prefix cannot be used, or nothing.
func prefixProblem(prefix string) string {
	switch {
	case strings.ContainsAny(prefix, "{}"):
		return "holds braces, so that data and record would lie in different slots of a cluster"
	case strings.HasPrefix("scsguard:", prefix), strings.HasPrefix(prefix, "scsguard"):
		return "is also how the keys of the registry begin, which would be taken for session data"
	}
	return ""
}

// record lies in the slot of the data: the hash tag is the whole key of the data.
// A store key that holds braces itself is none of scs; it is only a slot of its own.
func (k keyspace) record(key scsguard.Key) string {
	return "{" + k.prefix + string(key) + "}:g:" + k.ns
}

func (k keyspace) user(id string) string     { return k.own + "{user:" + hash(id) + "}" }
func (k keyspace) external(id string) string { return k.own + "{external:" + hash(id) + "}" }
func (k keyspace) everyone() string          { return k.own + "everyone" }
func (k keyspace) walks() string             { return k.own + "walks" }
func (k keyspace) channel() string           { return k.own + "ended" }

// hash makes a name of any bytes: no delimiter, no length, nobody's identity. Half of
// the digest is enough where nobody gains by two names of his own that meet.
func hash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// packed is a store key in as few bytes as it needs, since it stands in several places.
// All that scs makes are 32 bytes in base64.
func packed(key scsguard.Key) string {
	if len(key) == tokenLen {
		if b, err := base64.RawURLEncoding.Strict().DecodeString(string(key)); err == nil {
			return "\x00" + string(b)
		}
	}
	return "\x01" + string(key)
}

const tokenLen = 43 // 32 bytes in base64, without padding

// unpacked is what packed has made of a key.
func unpacked(s string) scsguard.Key {
	switch {
	case s == "":
		return ""
	case s[0] == 0:
		return scsguard.Key(base64.RawURLEncoding.EncodeToString([]byte(s[1:])))
	}
	return scsguard.Key(s[1:])
}

// fromToken is a name for the token that a login came with, which is only compared with
// that of another login of the same user.
func fromToken(key scsguard.Key) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(key))
	return string(sum[:12])
}

// dueParts is how many parts the due entries lie in, so that a cluster can spread
// them.
const dueParts = 16

func (k keyspace) due(part int) string { return k.own + "{due:" + strconv.Itoa(part) + "}" }

// dueOf is the part that a session's entries lie in.
func (k keyspace) dueOf(session string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(session))
	return k.due(int(h.Sum32() % dueParts))
}

// An entry is what a due entry knows without the record.
type entry struct {
	key     scsguard.Key
	session string
	user    string
}

func entryOf(rec scsguard.Record) entry { return entry{rec.Key, rec.Session, rec.User} }

// member is the entry as a member of a sorted set.
func (e entry) member() string {
	key := ""
	if e.key != "" {
		key = packed(e.key)
	}
	b := binary.AppendUvarint(nil, uint64(len(key)))
	b = append(b, key...)
	b = binary.AppendUvarint(b, uint64(len(e.session)))
	b = append(b, e.session...)
	return string(append(b, e.user...))
}

func parseEntry(member string) (entry, bool) {
	b := []byte(member)
	var parts [2]string
	for i := range parts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return entry{}, false
		}
		parts[i], b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	return entry{unpacked(parts[0]), parts[1], string(b)}, true
}
