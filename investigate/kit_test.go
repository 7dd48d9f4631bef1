package investigate

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

// A trail that a test writes by hand: what the guard does is in the model check,
// what it should never do is here.
type hand struct {
	t      *testing.T
	dir    string
	anchor string
	n      int
}

func newHand(t *testing.T) *hand {
	base = beginning()
	dir := memoryDir(t)
	return &hand{t: t, dir: filepath.Join(dir, "trail"), anchor: filepath.Join(dir, "anchor")}
}

func handKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32)) }

// stream opens a stream.
func (h *hand) stream() *auditlog.Log {
	h.t.Helper()
	log, err := auditlog.Open(auditlog.Config{Dir: h.dir, Root: handKey(), RootName: "hand", Origin: "host", MinFree: -1, WarnFree: 1,
		Anchors: []auditlog.Anchor{auditlog.FileAnchor(h.anchor)}})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = log.Close() })
	return log
}

// write writes a closed stream of events.
func (h *hand) write(events ...string) *hand {
	h.t.Helper()
	log := h.stream()
	h.append(log, events...)
	require.NoError(h.t, log.Close())
	return h
}

func (h *hand) append(log *auditlog.Log, events ...string) {
	h.t.Helper()
	for _, e := range events {
		require.NoError(h.t, log.Append(context.Background(), [][]byte{[]byte(e)}))
	}
	require.NoError(h.t, log.Anchor(context.Background()))
}

// trail verifies what was written, with its anchor.
func (h *hand) trail(change ...func(*auditlog.VerifyOptions, *Options)) *Trail {
	h.t.Helper()
	key, err := auditlog.VerifierKey(handKey(), "hand")
	require.NoError(h.t, err)
	vo, o := auditlog.VerifyOptions{Keys: []string{key}, Anchors: []auditlog.Anchor{auditlog.FileAnchor(h.anchor)}}, Options{}
	for _, f := range change {
		f(&vo, &o)
	}
	rep, err := auditlog.Verify(context.Background(), h.dir, vo)
	require.NoError(h.t, err)
	trail, err := New(o, rep)
	require.NoError(h.t, err)
	return trail
}

// base is when a trail of a test is written: the seals are of now, so the events
// are, too. Each test begins anew: all together take minutes on a slow machine.
var base = beginning()

func beginning() time.Time { return time.Now().UTC().Truncate(time.Second).Add(-20 * time.Hour) }

// at is a moment so many minutes after the beginning.
func at(minutes float64) time.Time {
	return base.Add(time.Duration(minutes * float64(time.Minute)))
}

func quoted(minutes float64) string { return `"` + stamp(at(minutes)) + `"` }

// ev is an event: kind, session, number and minute, and more members of the object.
func (h *hand) ev(kind, session string, seq int, minute float64, more ...string) string {
	h.n++
	e := fmt.Sprintf(`{"id":"E%d","time":%s,"event":%q,"user":"alice","session":%q,"session_seq":%d,"ip":"192.0.2.1","ip_source":"remote_addr"`,
		h.n, quoted(minute), kind, session, seq)
	rest := strings.Join(more, ",")
	if !strings.Contains(rest, `"outcome"`) {
		e += `,"outcome":"success"`
	}
	if rest != "" {
		e += "," + rest
	}
	return e + "}"
}

// limits are the deadlines in an event.
func limits(idle, absolute float64) string {
	return fmt.Sprintf(`"idle_expires":%s,"absolute_expires":%s`, quoted(idle), quoted(absolute))
}

func oldLimits(idle, absolute float64) string {
	return fmt.Sprintf(`"idle_expires_old":%s,"absolute_expires_old":%s`, quoted(idle), quoted(absolute))
}

func (h *hand) login(session string, minute float64) string {
	return h.ev("login", session, 1, minute, limits(minute+15, minute+480))
}

func (h *hand) extend(session string, seq int, minute float64, reason string) string {
	return h.ev("extend", session, seq, minute, fmt.Sprintf(`"reason":%q`, reason), limits(minute+15, 480), oldLimits(minute+5, 480))
}

func (h *hand) logout(session string, seq int, minute float64) string {
	return strings.Replace(h.ev("logout", session, seq, minute, `"reason":"user"`, limits(minute+15, 480)),
		fmt.Sprintf(`"id":"E%d"`, h.n), fmt.Sprintf(`"id":%q`, session+"/end"), 1)
}

// alive asks.
func (h *hand) alive(trail *Trail, session string, minute float64) Answer {
	h.t.Helper()
	a, err := trail.Active(context.Background(), session, at(minute))
	require.NoError(h.t, err)
	return a
}
