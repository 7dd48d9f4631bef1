package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/scsguard/scsguard/auditlog"
)

func prove() command {
	return command{
		name: "prove", args: "DIR",
		short: "write a proof that one event is in a trail, without the others",
		long: `Writes to standard output a C2SP tlog-proof of one record: the record, the hashes
that lead from it to a signed checkpoint, and nothing of any other record. Whoever
has the verifier key can check it with verify-proof, offline and without the trail.
"scsguard events --raw" shows the streams and numbers of records.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var t trust
			t.declare(fs)
			seq := fs.Int64("seq", math.MinInt64, "the `number` of the record in its stream; required")
			stream := fs.String("stream", "", "the `name` of the stream; needed if there are several")
			return func(c *call) error {
				if *seq == math.MinInt64 {
					return usageError("--seq is missing")
				}
				f, err := inspect(c, &t, c.args[0], auditlog.Place{Stream: *stream, Seq: *seq})
				if err != nil {
					return err
				}
				name, err := f.one(*stream)
				if err != nil {
					return err
				}
				proof, err := f.Prove(context.Background(), name, *seq)
				if err != nil {
					return err
				}
				if _, err := c.stdout.Write(proof); err != nil || f.Intact() {
					return err // whether the end is there has nothing to do with it
				}
				return f.sum(c.stderr)
			}
		},
	}
}

// one returns the name of a stream that was not named, if there is only one.
func (f *finding) one(name string) (string, error) {
	var names []string
	for i := range f.Streams {
		if s := f.Streams[i].Name; s == name {
			return name, nil
		} else if s != "" {
			names = append(names, s)
		}
	}
	switch {
	case name != "":
		return "", usageError("there is no stream %q", name)
	case len(names) == 0:
		return "", fmt.Errorf("there is no stream in %s, so nothing to prove", f.Dir)
	case len(names) > 1:
		return "", usageError("there are %s; name one with --stream, the last one is %s", count(len(names), "stream"), names[len(names)-1])
	}
	return names[0], nil
}

func verifyProof() command {
	return command{
		name: "verify-proof", args: "FILE",
		short: "check such a proof, offline",
		long: `Checks a proof that "scsguard prove" wrote; FILE is - for standard input. It needs
the verifier key and nothing else, prints the event, and on standard error in which
stream it was sealed, and when. Exit code 2: this is not a proof under that key.

A proof says that the record was in the trail. That nothing was cut off behind it
is a question for verify and an anchor.`,
		setup: func(fs *flag.FlagSet) func(*call) error {
			var keys list
			fs.Var(&keys, "key", "a `file` with verifier keys, or such a key itself; may be repeated; required")
			return func(c *call) error {
				if len(keys) == 0 {
					return usageError("--key is missing: without it anybody could have made the proof")
				}
				t := trust{keys: keys}
				roots, err := t.verifierKeys("")
				if err != nil {
					return err
				}
				proof, err := readAll(c.args[0])
				if err != nil {
					return err
				}
				p, err := auditlog.VerifyProof(proof, roots)
				if err != nil {
					return &exitError{exitTamper, err}
				}
				fmt.Fprintf(c.stderr, "record %d of stream %s, sealed %s, in the tree of %s\n",
					p.Record.Seq, p.Record.Stream, stamp(p.Record.Time), count(int(p.Head.Size), "record"))
				_, err = fmt.Fprintf(c.stdout, "%s\n", safeJSON(p.Record.Event))
				return err
			}
		},
	}
}

const maxProof = 16 << 20

func readAll(name string) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxProof+1))
	if err == nil && len(b) > maxProof {
		err = &exitError{exitTamper, errors.New("no proof is that long")}
	}
	return b, err
}
