package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/scsguard/scsguard/auditlog"
)

func keygen() command {
	return command{
		name: "keygen", args: "DIR",
		short: "make the root key of a trail",
		long: `Makes DIR/trail.key, the secret signing key, which only its owner can read, and
DIR/trail.pub, the verifier key, which it prints, too. The signing key is for the
server (auditlog.KeyFiles or ParseSigningKey), the verifier key for everybody who
verifies: keep a copy of it where the server cannot change it. A key that is there
is never replaced.`,
		setup: func(flags *flag.FlagSet) func(*call) error {
			name := flags.String("name", "auditlog", "the `name` in the key: letters, digits and . _ - /")
			return func(c *call) error {
				file := filepath.Join(c.args[0], "trail.key")
				if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s is there already: it stays as it is", file)
				}
				_, _, key, err := auditlog.KeyFiles(c.args[0], *name)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.stdout, key)
				return err
			}
		},
	}
}
