package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// write writes a file of the folder.
func (b *bundler) write(name, content string) error {
	file := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(content), 0o600)
}

// copyStreams copies the streams of a trail, the latest first: it tells how far the
// earlier ones had come, and what they have grown by since does no harm.
func copyStreams(c *call, from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	slices.Reverse(entries)
	for _, e := range entries {
		if !e.IsDir() || len(e.Name()) != 26 { // a stream has the name of its ULID
			continue
		}
		if err := copyFiles(c, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), ""); err != nil {
			return err
		}
	}
	return nil
}

// copyFiles copies the files of a directory whose names end in a certain way. What
// is a link or a device is left out: whoever can write to the trail must not make
// the investigator copy what he points at.
func copyFiles(c *call, from, to, suffix string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(from, e.Name())
		switch {
		case !strings.HasSuffix(e.Name(), suffix) || e.Name() == "lock":
		case !e.Type().IsRegular():
			fmt.Fprintf(c.stderr, "left out: %s is not a file\n", printable(name))
		default:
			if err := copyFile(name, filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

// sums writes the check sums of all files, in the form of sha256sum(1).
func (b *bundler) sums() error {
	var text strings.Builder
	err := walkFiles(b.dir, func(name string) error {
		f, err := os.Open(filepath.Join(b.dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", h.Sum(nil), filepath.ToSlash(name))
		return nil
	})
	if err != nil {
		return err
	}
	return b.write("SHA256SUMS", text.String())
}

// walkFiles calls f for each file under dir, in the order of their names.
func walkFiles(dir string, f func(name string) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return f(name)
	})
}

// syncTree makes the files durable before the folder gets its name.
func syncTree(dir string) error {
	return walkFiles(dir, func(name string) error {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Sync()
		if closed := f.Close(); err == nil {
			err = closed
		}
		return err
	})
}
