package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

func bundle() command {
	return command{
		name: "bundle", args: "DIR...",
		short: "put all that a case needs into one folder, to be verified elsewhere",
		long: `Makes a folder with the name of the case: the trails and anchors as they are, the
verifier keys, the pins and signed checkpoints, the questions asked with --ask and
their answers, a proof of each record that the answers rest on, check sums, and a
README for whoever gets it. "scsguard verify" accepts it on another machine.

A question is one of the commands that ask a trail something, with its flags, such as
--ask 'active --session S --at 2026-03-04T09:08:00Z'. It is asked of the copy. The
trail cannot be cut to size without breaking its seal, so the folder has the records
of everybody; what is in its folder proofs can be given away without the others.

A trail that is being written is bundled as far as it goes. The exit code is that of
verify for the copy: a trail that was tampered with is bundled, too, with exit code 2.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var q question
			var b bundler
			q.declareTrail(fs)
			fs.StringVar(&b.name, "case", "", "the `name` of the case and of the folder; required")
			fs.StringVar(&b.out, "out", ".", "the `directory` in which the folder is made")
			fs.Var(&b.asks, "ask", "a `question` to ask and to keep with its answer; may be repeated")
			fs.IntVar(&b.maxProofs, "proofs", 100, "of how `many` records to make a proof, at most")
			return func(c *call) error { return b.run(c, &q) }
		},
	}
}

// bundler makes the folder of a case.
type bundler struct {
	name, out string
	asks      list
	maxProofs int

	dir    string // where it grows
	copied []bundledTrail
	keys   []string
	hashes map[string]string // of the files, by name

	refs    []investigate.Ref // which the answers rest on, as many as are proved
	resting map[[16]byte]struct{}
	Now     string
}

// bundledTrail says where in the folder a trail is.
type bundledTrail struct {
	From, Trail, Anchor string
	Pins                list
}

var caseName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

func (b *bundler) run(c *call, q *question) error {
	if !caseName.MatchString(b.name) {
		return usageError("--case %q: a name of letters, digits and . _ -, at most 100", b.name)
	}
	asked, err := parseAsks(b.asks)
	if err != nil {
		return err
	}
	goal := filepath.Join(b.out, b.name)
	if _, err := os.Lstat(goal); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: it stays as it is", goal)
	}
	if _, err := q.sources(c.args); err != nil { // before anything is copied
		return err
	}
	// It gets its name when it is whole, so that half a bundle is never taken for one.
	if b.dir, err = os.MkdirTemp(b.out, "."+b.name+"-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.Now = stamp(time.Now())
	b.hashes, b.resting = make(map[string]string), make(map[[16]byte]struct{})
	if err := b.copyAll(c, q); err != nil {
		return err
	}
	state, err := b.answer(c, q, asked)
	if err != nil {
		return err
	}
	if err := syncTree(b.dir); err != nil {
		return err
	}
	if err := os.Rename(b.dir, goal); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s: %s; begin with its README.md\n", printable(goal), state.Why)
	return exitOf(state)
}

// copyAll copies what verification needs.
func (b *bundler) copyAll(c *call, q *question) error {
	for i, dir := range c.args {
		t := bundledTrail{From: dir, Trail: numbered("trail", i, len(c.args)), Pins: q.pins}
		if len(c.args) > 1 {
			t.Pins = q.pinsOf(dir)
		}
		keys, err := q.verifierKeys(dir)
		if err != nil {
			return err
		}
		b.keys = union(b.keys, keys)
		// What an anchor learns while the trail is being copied need not be in the
		// copy, so the anchors come first.
		for n, anchor := range anchorsOf(q.anchors, i, len(c.args)) {
			name := numbered("anchor", max(i, n), max(len(c.args), len(q.anchors)))
			if err := b.copyAnchor(c, anchor, name); err != nil {
				return err
			}
			t.Anchor += " --anchor " + name
		}
		if err := b.copyStreams(c, dir, t.Trail); err != nil {
			return err
		}
		b.copied = append(b.copied, t)
	}
	if err := b.write("keys/trail.pub", strings.Join(b.keys, "\n")+"\n"); err != nil {
		return err
	}
	for i, pin := range q.pins {
		if content, err := os.ReadFile(pin); err == nil {
			pin = string(content)
		}
		if err := b.write(fmt.Sprintf("pins/%d.txt", i+1), strings.TrimSpace(pin)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// copyQueries copies the trail of who asked what, which has the record of this bundle.
func (b *bundler) copyQueries(c *call, q *question) error {
	if q.queries.dir == "" {
		return nil
	}
	key, err := os.ReadFile(filepath.Join(q.queries.keys, "trail.pub"))
	if err != nil {
		return err
	}
	if err := b.write("keys/queries.pub", string(key)); err != nil {
		return err
	}
	return b.copyStreams(c, q.queries.dir, "queries")
}

// answer verifies the copy, asks it the questions in the same pass, and writes what
// proves it.
func (b *bundler) answer(c *call, q *question, asked []ask) (state investigate.Answer, err error) {
	inside := question{longest: q.longest}
	inside.trust.keys = list{filepath.Join(b.dir, "keys", "trail.pub")}
	var dirs []string
	for _, t := range b.copied {
		dirs = append(dirs, filepath.Join(b.dir, t.Trail))
	}
	for name := range strings.FieldsSeq(b.anchorFlags()) {
		if name != "--anchor" {
			inside.anchors = append(inside.anchors, filepath.Join(b.dir, name))
		}
	}
	inside.pins = q.pins
	trail, bars, err := inside.open(c, dirs)
	if err != nil {
		return state, err
	}
	defer bars.done()
	err = b.askAll(asked, dirs, &inside, trail, func(copied *investigate.Trail) error {
		bars.done()
		if !copied.Intact() {
			if err := b.wasChanged(c, q); err != nil {
				return err
			}
		}
		state = health(copied, "a bundle")
		return q.recorded(c, &state, copied.Reports, c.args)
	})
	if err != nil {
		return state, err
	}
	if err := b.copyQueries(c, q); err != nil {
		return state, err
	}
	if err := b.checkpoints(trail); err != nil {
		return state, err
	}
	proofs, err := b.prove(trail)
	if err != nil {
		return state, err
	}
	if err := b.readme(trail, asked, len(b.resting), proofs, state); err != nil {
		return state, err
	}
	return state, b.sums()
}

// wasChanged demands that what is wrong with the copy is wrong with the trail, too.
func (b *bundler) wasChanged(c *call, q *question) error {
	trail, _, err := q.verified(c, c.args)
	if err == nil && trail.Intact() {
		err = errors.New("the copy is not as the trail is: it was changed meanwhile, or retention has removed something; try again")
	}
	return err
}

func (b *bundler) anchorFlags() string {
	var all string
	for _, t := range b.copied {
		all += t.Anchor
	}
	return all
}

// checkpoints writes the last signed checkpoint of each stream.
func (b *bundler) checkpoints(trail *investigate.Trail) error {
	for _, rep := range trail.Reports {
		for i := range rep.Streams {
			st := &rep.Streams[i]
			if st.Checkpoint == "" {
				continue
			}
			if err := b.write("checkpoints/"+filepath.Base(st.Dir)+".txt", st.Checkpoint); err != nil {
				return err
			}
		}
	}
	return nil
}

// prove writes a proof of each record, as many as are wanted.
func (b *bundler) prove(trail *investigate.Trail) (n int, err error) {
	for i, rep := range trail.Reports {
		var places []auditlog.Place
		for _, r := range b.refs {
			first := slices.IndexFunc(trail.Reports, func(rep *auditlog.Report) bool { return (&finding{rep}).has(r.Stream) })
			if first == i {
				places = append(places, auditlog.Place{Stream: r.Stream, Seq: r.Seq})
			}
		}
		proofs, err := rep.ProveAll(context.Background(), places)
		if err != nil {
			return n, err
		}
		for j, p := range places {
			name := fmt.Sprintf("proofs/%s-%d.tlog-proof", p.Stream[strings.LastIndexByte(p.Stream, '/')+1:], p.Seq)
			if err := b.write(name, string(proofs[j])); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (f *finding) has(stream string) bool {
	for i := range f.Streams {
		if f.Streams[i].Name == stream {
			return true
		}
	}
	return false
}

// Commands returns how to verify the folder, for its README.
func (b *bundler) Commands() []string {
	var all []string
	for _, t := range b.copied {
		line := "scsguard verify " + t.Trail + " --key keys/trail.pub" + t.Anchor
		for _, pin := range t.Pins {
			line += " --pin " + quoted(oneLinePin(pin))
		}
		all = append(all, line)
	}
	return all
}

// oneLinePin is a pin in its short form.
func oneLinePin(pin string) string {
	if content, err := os.ReadFile(pin); err == nil {
		pin = string(content)
	}
	if h, err := auditlog.ParsePin(pin); err == nil {
		return h.String()
	}
	return pin
}

func numbered(name string, i, of int) string {
	if of == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i+1)
}

// anchorsOf are the anchors of the i-th trail: of a single trail all, else its own.
func anchorsOf(all list, i, trails int) list {
	if trails > 1 && len(all) > 0 {
		return all[i : i+1]
	}
	return all
}

func union(a, b []string) []string {
	out := list(a)
	for _, s := range b {
		_ = out.Set(s)
	}
	return out
}
