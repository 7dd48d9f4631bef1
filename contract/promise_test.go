package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/scsguard/scsguard"
)

// A promise is something that the documentation of scs says to an application.
type promise struct {
	says string // in a sentence; the name of the test
	by   []visitor

	manager func(*scs.SessionManager) // settings of the application
	guard   func(*scsguard.Config)    // what the guard needs for them
	wrap    func(scs.Store) scs.Store // a store of the application's own
	clock   bool                      // needs hours: not on a store with a clock of its own
	wire    bool                      // needs a connection: not in simulated time
	gob     bool                      // has values that JSON does not keep
	json    bool                      // has values that gob does not keep

	do   func(*app)
	want string // what do notes down, a line each
	but  []but
}

// A but is an exception to a promise: what is noted instead, over scs or under
// the guard.
type but struct {
	listed *difference
	on     func(conditions) bool // nil: always
	plain  string                // empty: as promised
	guard  string                // empty: as promised
	keyed  string                // by the user key, where it is not as with verbs
}

// conditions are what a promise is kept under.
type conditions struct {
	visitor visitor
	store   string
	hash    bool
	codec   string
}

func loggedIn(c conditions) bool  { return c.visitor == user }
func anonymous(c conditions) bool { return c.visitor != user }
func hashed(c conditions) bool    { return c.hash }

// A visitor is who makes the requests.
type visitor string

const (
	stranger visitor = "a stranger" // without a session
	guest    visitor = "a guest"    // with a session in which nobody is logged in
	user     visitor = "a user"     // logged in
)

var (
	everybody = []visitor{stranger, guest, user}
	members   = []visitor{guest, user} // those with a session
)

// promises is the whole table.
func promises() []promise {
	return slices.Concat(
		cookiePromises(), persistencePromises(), headerPromises(), valuePromises(), typePromises(), statusPromises(), lifetimePromises(), deadlinePromises(),
		tokenPromises(), destroyPromises(), mergePromises(), iteratePromises(), byHandPromises(), storePromises(),
		responsePromises(), connectionPromises(), errorPromises(),
	)
}

func TestPromisesAreKeptOrTheDifferenceIsListed(t *testing.T) {
	all := promises()
	for _, s := range stores() {
		t.Run(s.name, func(t *testing.T) {
			s.start(t)
			for _, hash := range []bool{false, true} {
				for name, codec := range codecs {
					t.Run(fmt.Sprintf("HashTokenInStore=%v/%s", hash, name), func(t *testing.T) {
						for _, p := range all {
							if p.gob && name != "gob" || p.json && name != "JSON" || p.clock && s.ownClock {
								continue
							}
							for _, v := range p.by {
								t.Run(p.says+"/"+string(v), func(t *testing.T) {
									keep(t, p, s, conditions{visitor: v, store: s.name, hash: hash, codec: name}, codec)
								})
							}
						}
					})
				}
			}
		})
	}
}

// keep runs one promise both ways.
func keep(t *testing.T, p promise, s *store, c conditions, codec scs.Codec) {
	t.Helper()
	plain, guarded, keyed := p.want, p.want, ""
	for _, b := range p.but {
		if b.on != nil && !b.on(c) {
			continue
		}
		if b.plain != "" {
			plain = b.plain
		}
		if b.guard != "" {
			guarded = b.guard
		}
		if b.keyed != "" {
			keyed = b.keyed
		}
	}
	keyed = cmp.Or(keyed, guarded)
	for _, way := range []struct {
		name string
		w    way
		want string
	}{{"scs alone", scsAlone, plain}, {"under the guard", withVerbs, guarded}, {"under the guard, by its user key", unchanged, keyed}} {
		got := observe(t, p, s, c, codec, way.w)
		if want := lines(way.want); got != want {
			t.Errorf("%s:\n%s\nshould be\n%s", way.name, indent(got), indent(want))
		}
	}
}

// lines returns a note with nothing around its lines.
func lines(note string) string {
	var list []string
	for line := range strings.Lines(note) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return strings.Join(list, "\n")
}

func indent(note string) string { return "\t" + strings.ReplaceAll(note, "\n", "\n\t") }

// Every promise is checked in the table before it is kept, since one that notes
// nothing would always hold.
func TestEachPromiseSaysSomething(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range promises() {
		switch {
		case p.says == "" || seen[p.says]:
			t.Errorf("%q: a promise needs a name of its own", p.says)
		case p.do == nil, lines(p.want) == "", len(p.by) == 0:
			t.Errorf("%q: it says nothing, or nobody is promised it", p.says)
		case p.clock && p.wire:
			t.Errorf("%q: time is simulated only where there is no connection", p.says)
		}
		for _, b := range p.but {
			if b.listed == nil || lines(cmp.Or(b.plain, p.want)) == lines(cmp.Or(b.guard, b.keyed, p.want)) {
				t.Errorf("%q: an exception has to be listed, and to be a difference", p.says)
			}
		}
		seen[p.says] = true
	}
}
