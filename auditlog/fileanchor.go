package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const headsSuffix = ".heads"

// FileAnchor returns an [Anchor] that keeps heads in files of another directory:
// on another disk, a network share, or at least under another account that lets
// the application append only. In the log's own directory it would protect from
// nothing. The directory is made if it is missing; a verifier needs to read it
// only.
//
// There is one file for each stream. Its first line is {"cert":"..."}; each
// further line is a checkpoint as it stands in the log.
func FileAnchor(dir string) Anchor {
	return &fileAnchor{dir: dir, last: make(map[string]Head)}
}

type fileAnchor struct {
	dir string

	mu   sync.Mutex
	last map[string]Head
}

func (a *fileAnchor) path(stream string) string {
	return filepath.Join(a.dir, url.PathEscape(stream)+headsSuffix)
}

func (a *fileAnchor) Put(ctx context.Context, h Head) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !validName(h.Stream) {
		return fmt.Errorf("auditlog: %q is not the name of a stream", h.Stream)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, known := a.last[h.Stream]
	if !known {
		for head, err := range a.Heads(ctx, h.Stream) {
			if err != nil {
				return err
			}
			last = head
		}
	}
	switch {
	case last.Size == h.Size && last.Root == h.Root:
		a.last[h.Stream] = last
		return nil
	case last.Size >= h.Size:
		return fmt.Errorf("%w: %d records are anchored, now it is said to have %d", ErrFork, last.Size, h.Size)
	}
	if err := a.write(h, last.Size == 0); err != nil {
		return err
	}
	a.last[h.Stream] = h
	return nil
}

func (a *fileAnchor) write(h Head, first bool) error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(a.path(h.Stream), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var b []byte
	if info, err := f.Stat(); err != nil {
		return err
	} else if n := info.Size(); n > 0 {
		var end [1]byte
		if _, err := f.ReadAt(end[:], n-1); err != nil {
			return err
		}
		if end[0] != '\n' {
			b = append(b, '\n') // a crash tore the last line
		}
	}
	if first {
		b = appendNoted(b, "cert", h.Cert)
	}
	b = appendNoted(b, "cp", h.Checkpoint)
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if first {
		return syncDir(a.dir)
	}
	return nil
}

// appendNoted appends a line {"key":"text"}. Notes have no characters that JSON
// would escape, except for line feeds.
func appendNoted(b []byte, key, text string) []byte {
	b = append(b, `{"`+key+`":"`...)
	b = append(b, strings.ReplaceAll(text, "\n", `\n`)...)
	return append(b, "\"}\n"...)
}

func (a *fileAnchor) Streams(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := os.ReadDir(a.dir)
		if err != nil {
			yield("", err)
			return
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), headsSuffix)
			if !ok {
				continue
			}
			stream, err := url.PathUnescape(name)
			if err != nil || !validName(stream) {
				continue // not ours
			}
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(stream, nil) {
				return
			}
		}
	}
}

// Heads skips lines that are damaged or torn: what is not there protects
// nothing, but it accuses nobody either.
func (a *fileAnchor) Heads(ctx context.Context, stream string) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {
		f, err := openRegular(a.path(stream))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Head{}, err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 16<<10)
		cert := ""
		for {
			raw, err := r.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				continue // longer than any line of ours
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Head{}, err)
				}
				return
			}
			var l struct{ Cert, CP string }
			if json.Unmarshal(bytes.TrimSuffix(raw, []byte("\n")), &l) != nil {
				continue
			}
			if l.Cert != "" {
				cert = l.Cert
				continue
			}
			h, err := ParsePin(l.CP)
			if err != nil || h.Stream != stream {
				continue
			}
			h.Checkpoint, h.Cert = l.CP, cert
			if err := ctx.Err(); err != nil {
				yield(Head{}, err)
				return
			}
			if !yield(h, nil) {
				return
			}
		}
	}
}
