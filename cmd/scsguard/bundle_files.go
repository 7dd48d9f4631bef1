package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// write writes a file of the folder.
func (b *bundler) write(name, content string) error {
	return b.take(name, strings.NewReader(content))
}

// take writes a file of the folder.
func (b *bundler) take(name string, content io.Reader) error {
	out, err := b.create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// create makes a file of the folder. Its check sum is taken on the way: nothing is read
// for that.
func (b *bundler) create(name string) (*caseFile, error) {
	file := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	return &caseFile{f: f, sum: sum, Writer: bufio.NewWriterSize(io.MultiWriter(f, sum), 64<<10), hashes: b.hashes, name: filepath.ToSlash(name)}, nil
}

// caseFile is a file of the folder while it is written.
type caseFile struct {
	*bufio.Writer
	f      *os.File
	sum    hash.Hash
	hashes map[string]string
	name   string
}

// Close says whether all was written. Closing it again does nothing.
func (f *caseFile) Close() error {
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.Flush(), f.f.Close())
	f.f = nil
	f.hashes[f.name] = hex.EncodeToString(f.sum.Sum(nil))
	return err
}

// copyStreams copies the streams of a trail, the latest first: it tells how far the
// earlier ones had come, and what they have grown by since does no harm.
func (b *bundler) copyStreams(c *call, from, to string) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir, to), 0o700); err != nil {
		return err
	}
	slices.Reverse(entries)
	for _, e := range entries {
		if !e.IsDir() || len(e.Name()) != 26 { // a stream has the name of its ULID
			continue
		}
		stream, err := root.OpenRoot(e.Name())
		if err != nil {
			return err
		}
		err = b.copyFiles(c, stream, filepath.Join(to, e.Name()), "")
		if closed := stream.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyAnchor copies the files of an anchor.
func (b *bundler) copyAnchor(c *call, from, to string) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	return b.copyFiles(c, root, to, ".heads")
}

// copyFiles copies the files of a directory whose names end in a certain way. What
// is a link or a device is left out: whoever can write to the trail must not make
// the investigator copy what he points at. Nor can he put a link there afterwards: a
// root follows none that leads out of it.
func (b *bundler) copyFiles(c *call, from *os.Root, to, suffix string) error {
	entries, err := fs.ReadDir(from.FS(), ".")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir, to), 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case !strings.HasSuffix(e.Name(), suffix) || e.Name() == "lock":
		case !e.Type().IsRegular():
			fmt.Fprintf(c.stderr, "left out: %s is not a file\n", printable(filepath.Join(from.Name(), e.Name())))
		default:
			if err := b.copyFile(from, e.Name(), filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bundler) copyFile(from *os.Root, name, to string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	return b.take(to, in)
}

// sums writes the check sums of all files, in the form of sha256sum(1).
func (b *bundler) sums() error {
	var text strings.Builder
	err := walkFiles(b.dir, func(name string) error {
		name = filepath.ToSlash(name)
		if b.hashes[name] == "" {
			return fmt.Errorf("%s has come into the folder from elsewhere", name)
		}
		fmt.Fprintf(&text, "%s  %s\n", b.hashes[name], name)
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
