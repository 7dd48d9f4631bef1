package auditlog

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Config says where a log is kept and how.
type Config struct {
	// Dir is where the streams are kept, one sub-directory each. It is made, with
	// mode 0700, if it is missing. Several processes may share it. Required.
	Dir string

	// Root certifies the key of each new stream, once. Only Ed25519 is supported;
	// the key may live in a file, an agent, a KMS or an HSM, and need not stay
	// reachable afterwards. Required.
	Root crypto.Signer
	// RootName is the name in the root's verifier key. Default "auditlog".
	RootName string

	// Origin is the first part of the stream names: who writes, say
	// "shop/web-3". Default: the name of the host.
	Origin string
	// ConfigDigest is kept in audit.opened: under which settings the application
	// ran. Optional.
	ConfigDigest string

	// Anchors are told how far the log has come. Without one nobody can tell
	// whether the end of the log is missing.
	Anchors []Anchor
	// AnchorEvery is how often they are told when there is something new.
	// Default 15 s.
	AnchorEvery time.Duration
	// MaxAnchorLag is how old the oldest record that an anchor does not cover may
	// become before Health reports it. Default 60 s.
	MaxAnchorLag time.Duration

	// Heartbeat is how often the log records that it is alive. Default 5 min.
	Heartbeat time.Duration
	// ClockJump is how far the clock must have been set between two writes to be
	// recorded. Default 1 s.
	ClockJump time.Duration

	// SegmentBytes and SegmentAge say when a new segment is begun.
	// Default 64 MiB and 24 h.
	SegmentBytes int64
	SegmentAge   time.Duration

	// WarnFree is the free disk space, in bytes, below which Health warns.
	// Default 512 MiB.
	WarnFree int64
	// MinFree is the free disk space, in bytes, below which Append refuses. What
	// remains is for AppendReserved and for the log's own records. Default 64 MiB;
	// negative: none is kept back.
	MinFree int64

	// CheckAtStart is how many bytes of old streams Open verifies in full, newest
	// first. Of the rest it looks at the ends only. Default 64 MiB; negative: none.
	CheckAtStart int64

	// OnAlarm is called, from a goroutine of its own, for each Alarm. Optional.
	OnAlarm func(Alarm)

	// OpenFile opens a new segment for writing. Default: a file that only its
	// owner can read, opened for appending. It is here for tests of what happens
	// when a disk fails; what it returns must be the file of that name.
	OpenFile func(name string) (File, error)

	clock     func() (wall time.Time, mono time.Duration)
	freeSpace func(dir string) (int64, error)
}

// A File is what a segment is written to.
type File interface {
	io.Writer
	Sync() error
	io.Closer
}

// An Alarm is something that a person must look at.
type Alarm struct {
	Stream string // the stream it is about
	Err    error  // a *Damage if the stream is not as it was written
}

func (a Alarm) Error() string { return fmt.Sprintf("auditlog: %s: %v", a.Stream, a.Err) }
func (a Alarm) Unwrap() error { return a.Err }

// withDefaults checks the settings and fills in what is missing.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Dir == "" {
		bad("Dir is empty, so there is no place for the log; name a directory")
	}
	if c.RootName == "" {
		c.RootName = "auditlog"
	}
	if c.Root == nil {
		bad("Root is nil, so nobody could tell this log from a forged one; make a key with GenerateKey")
	} else if _, err := VerifierKey(c.Root, c.RootName); err != nil {
		bad("Root, RootName: %s", strings.TrimPrefix(err.Error(), "auditlog: "))
	}
	if c.Origin == "" {
		c.Origin = hostName()
	}
	if !validName(c.Origin) {
		bad("Origin %q becomes part of key names: %s", c.Origin, nameRule)
	}
	for i, a := range c.Anchors {
		if a == nil {
			bad("Anchors[%d] is nil", i)
		}
	}
	def(&c.AnchorEvery, 15*time.Second)
	def(&c.MaxAnchorLag, time.Minute)
	def(&c.Heartbeat, 5*time.Minute)
	def(&c.ClockJump, time.Second)
	def(&c.SegmentBytes, 64<<20)
	def(&c.SegmentAge, 24*time.Hour)
	def(&c.WarnFree, 512<<20)
	def(&c.MinFree, 64<<20)
	def(&c.CheckAtStart, 64<<20)
	for _, d := range []struct {
		name  string
		value time.Duration
		min   time.Duration
	}{
		{"AnchorEvery", c.AnchorEvery, time.Millisecond}, {"MaxAnchorLag", c.MaxAnchorLag, time.Millisecond},
		{"Heartbeat", c.Heartbeat, time.Second}, {"ClockJump", c.ClockJump, time.Millisecond}, {"SegmentAge", c.SegmentAge, time.Second},
	} {
		if d.value < d.min {
			bad("%s is %v, less than %v", d.name, d.value, d.min)
		}
	}
	if c.SegmentBytes < 1024 {
		bad("SegmentBytes is %d; each batch would get a file of its own. At least 1024", c.SegmentBytes)
	}
	if len(c.Anchors) > 0 && c.AnchorEvery > c.MaxAnchorLag {
		bad("AnchorEvery %v is more than MaxAnchorLag %v, so the anchors are always late", c.AnchorEvery, c.MaxAnchorLag)
	}
	if c.OpenFile == nil {
		c.OpenFile = openSegment
	}
	if c.clock == nil {
		started := time.Now()
		c.clock = func() (time.Time, time.Duration) {
			now := time.Now()
			return now.Round(0), now.Sub(started)
		}
	}
	if c.freeSpace == nil {
		c.freeSpace = freeSpace
	}
	if len(errs) > 0 {
		return c, fmt.Errorf("auditlog: %w", errors.Join(errs...))
	}
	return c, nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func openSegment(name string) (File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// hostName is the name of the machine, as far as it fits into a stream name.
func hostName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "host"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && validName(string(r)) && r != '/' {
			return r
		}
		return '-'
	}, host)
}
