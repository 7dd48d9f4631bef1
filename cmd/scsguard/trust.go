package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/scsguard/scsguard/auditlog"
)

// trust is which keys a verifier believes, and whose word about the end of a
// trail.
type trust struct {
	keys, anchors, pins list
	// beside says where a key was found for want of a better one.
	beside string
}

// declare declares the flags of every command that verifies.
func (t *trust) declare(flags *flag.FlagSet) {
	flags.Var(&t.keys, "key", "a `file` with verifier keys, or such a key itself; may be repeated\n(default: keys/trail.pub beside DIR)")
	flags.Var(&t.anchors, "anchor", "the `directory` of an anchor; may be repeated")
	flags.Var(&t.pins, "pin", "a `checkpoint` noted by hand, or a file with one: its text, or stream:size:root; may be repeated")
}

// options reads what the flags name, to verify the trail in dir.
func (t *trust) options(dir string) (o auditlog.VerifyOptions, err error) {
	if o.Keys, err = t.verifierKeys(dir); err != nil {
		return o, err
	}
	for _, anchor := range t.anchors {
		if info, err := os.Stat(anchor); err != nil || !info.IsDir() {
			return o, fmt.Errorf("the anchor %s cannot be read: %w", anchor, errors.Join(err, notADirectory(info)))
		}
		o.Anchors = append(o.Anchors, auditlog.FileAnchor(anchor))
	}
	for _, text := range t.pins {
		if content, err := os.ReadFile(text); err == nil {
			text = string(content)
		}
		pin, err := auditlog.ParsePin(text)
		if err != nil {
			return o, &exitError{exitUsage, err}
		}
		o.Pins = append(o.Pins, pin)
	}
	return o, nil
}

func notADirectory(info fs.FileInfo) error {
	if info == nil || info.IsDir() {
		return nil
	}
	return errors.New("it is no directory")
}

// verifierKeys returns the keys to believe. Without --key it takes the one that
// the server has left beside its trail: good enough to see whether the disk was
// changed, and no good against whoever can change that file, too.
func (t *trust) verifierKeys(dir string) ([]string, error) {
	if len(t.keys) > 0 {
		var keys []string
		for _, key := range t.keys {
			more, err := readKeys(key)
			if err != nil {
				return nil, err
			}
			keys = append(keys, more...)
		}
		return keys, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t.beside = filepath.Join(filepath.Dir(abs), "keys", "trail.pub")
	keys, err := readKeys(t.beside)
	if err != nil {
		return nil, usageError("give the verifier key of the trail with --key: there is none in %s either", t.beside)
	}
	return keys, nil
}

// readKeys reads a file of keys, one in a line, or takes a key as it is.
func readKeys(key string) ([]string, error) {
	text, err := os.ReadFile(key)
	if err != nil {
		if strings.Count(key, "+") < 2 {
			return nil, fmt.Errorf("the verifier key cannot be read: %w", err)
		}
		text = []byte(key)
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		switch line = strings.TrimSpace(line); {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "PRIVATE+KEY+"):
			return nil, usageError("%s is a signing key, which nobody needs who verifies, and nobody should have; take trail.pub", key)
		default:
			if err := auditlog.CheckVerifierKey(line); err != nil {
				return nil, &exitError{exitUsage, err}
			}
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, usageError("there is no key in %s", key)
	}
	return keys, nil
}
