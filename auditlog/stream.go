package auditlog

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const lockName = "lock"

// stream is a stream that this process writes.
type stream struct {
	cfg  *Config
	name string
	dir  string
	lock *os.File
	key  *streamKey
	cert string

	seg    int
	file   File
	path   string
	id     os.FileInfo // of the file, to see whether it is still there
	offset int64       // of its end, as far as it is durable
	began  time.Time

	// What is sealed; after a failure ahead of what is durable.
	tree tree
	prev Hash
	buf  []byte
	text []byte

	head durable // the last durable checkpoint
}

// newStream makes the directory of a new stream and its first segment. Nothing
// is durable yet.
func newStream(cfg *Config, now time.Time) (s *stream, err error) {
	id := newULID(now)
	s = &stream{cfg: cfg, name: cfg.Origin + "/" + id, dir: filepath.Join(cfg.Dir, id), began: now}
	// The directory may have been removed since Open.
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	s.lock, err = os.OpenFile(filepath.Join(s.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return s, err
	}
	if err := lockFile(s.lock); err != nil {
		return s, fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	if s.key, err = newStreamKey(s.name); err != nil {
		return s, err
	}
	if s.cert, err = certify(cfg.Root, cfg.RootName, &s.key.public); err != nil {
		return s, err
	}
	if err := s.openSegment(0, now); err != nil {
		return s, err
	}
	return s, syncDir(cfg.Dir)
}

// openSegment goes on in a new file. On an error the old one is still in use.
func (s *stream) openSegment(n int, now time.Time) error {
	path := filepath.Join(s.dir, segmentName(n))
	f, err := s.cfg.OpenFile(path)
	if err != nil {
		return err
	}
	id, err := os.Stat(path)
	if err == nil && id.Size() > 0 {
		err = fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	if s.file != nil {
		_ = s.file.Close() // everything in it has been synced
	}
	s.file, s.path, s.id, s.seg, s.offset, s.began = f, path, id, n, 0, now
	return nil
}

func segmentName(n int) string { return fmt.Sprintf("%08d.log", n) }

// begin starts the bytes of a batch. The first byte is lent to hashAt.
func (s *stream) begin() { s.buf = append(s.buf[:0], '\n') }

// seal adds a record to the batch.
func (s *stream) seal(now []byte, own bool, body []byte) {
	start := len(s.buf)
	s.buf = appendRecord(s.buf, s.name, s.tree.size, now, &s.prev, own, body)
	s.prev = hashAt(s.buf, start, len(s.buf))
	s.tree.add(s.prev)
	s.buf = append(s.buf, '\n')
}

// errTampered reports a segment that somebody else has changed under the writer.
var errTampered = errors.New("the segment was changed, replaced or removed while it was being written")

// commit ends the batch with a checkpoint and makes it durable: one write, one
// fsync. After an error nothing more may be written to this stream, since nobody
// knows what of the batch is on the disk, and a later fsync of the same file may
// succeed although this one's data are lost.
func (s *stream) commit() error {
	root := s.tree.root()
	s.text = appendSigned(s.text[:0], s.name, s.tree.size, &root)
	sig := s.key.sign(s.text)
	start := len(s.buf)
	s.buf = appendCheckpoint(s.buf, s.name, s.tree.size, &root, sig[:])
	s.prev = hashAt(s.buf, start, len(s.buf))
	s.buf = append(s.buf, '\n')

	data := s.buf[1:]
	n, err := s.file.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return &syncError{err}
	}
	// A file that was removed takes every write and every fsync; what is written
	// to it is gone all the same.
	now, err := os.Stat(s.path)
	if err != nil || !os.SameFile(now, s.id) || now.Size() != s.offset+int64(len(data)) {
		return fmt.Errorf("%s: %w", s.path, errTampered)
	}
	s.offset += int64(len(data))
	s.head = durable{stream: s.name, cert: s.cert, size: s.tree.size, root: root, sig: sig}
	return nil
}

// syncError is an fsync that failed.
type syncError struct{ err error }

func (e *syncError) Error() string { return "fsync: " + e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

// durable is a Head as it is kept for each write; its text is made when somebody
// wants it.
type durable struct {
	stream, cert string
	size         int64
	root         Hash
	sig          [4 + ed25519.SignatureSize]byte
}

func (d *durable) head() Head {
	text := appendSigned(nil, d.stream, d.size, &d.root)
	return Head{
		Stream: d.stream, Size: d.size, Root: d.root, Cert: d.cert,
		Checkpoint: string(text) + "\n— " + d.stream + " " + base64.StdEncoding.EncodeToString(d.sig[:]) + "\n",
	}
}

// release closes the files. The stream can be written no more.
func (s *stream) release() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	if s.lock != nil {
		_ = s.lock.Close() // ends the lock
	}
	return err
}

// discard removes a stream of which nothing was ever acknowledged.
func (s *stream) discard() {
	_ = s.release()
	_ = os.Remove(filepath.Join(s.dir, segmentName(0)))
	_ = os.Remove(filepath.Join(s.dir, lockName))
	_ = os.Remove(s.dir)
}

// newULID returns 26 characters that sort by time: 48 bits of milliseconds and
// 80 random bits, in Crockford's alphabet.
func newULID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [26]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// isULID reports whether a directory may be that of a stream.
func isULID(s string) bool {
	if len(s) != 26 || s[0] > '7' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
