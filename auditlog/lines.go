package auditlog

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// errLong reports a line that is longer than any line of this format.
var errLong = errors.New("a line is too long")

// lineReader reads lines without copying them. Its memory is one line and a
// chunk.
type lineReader struct {
	r          io.Reader
	buf        []byte // buf[0] is lent to hashAt
	start, end int    // what is read and not given out yet
	off        int64  // of buf[start] in the file
	line       int    // number of the line last given out
	eof        bool
}

const chunk = 256 << 10

var lineBufs = sync.Pool{New: func() any { return &lineReader{buf: make([]byte, chunk)} }}

// newLineReader returns a reader that has to be freed.
func newLineReader() *lineReader { return lineBufs.Get().(*lineReader) }

func (r *lineReader) reset(src io.Reader) { *r = lineReader{r: src, buf: r.buf, start: 1, end: 1} }

func (r *lineReader) free() {
	r.r = nil
	if len(r.buf) == chunk { // one that had to grow is not kept
		lineBufs.Put(r)
	}
}

// next returns where in r.buf the next line is, without its line feed. At the
// end of the file it returns what is left, with whole == false.
func (r *lineReader) next() (from, to int, whole bool, err error) {
	scanned := r.start
	for {
		if i := bytes.IndexByte(r.buf[scanned:r.end], '\n'); i >= 0 {
			from, to = r.start, scanned+i
			r.off += int64(to + 1 - from)
			r.start = to + 1
			r.line++
			return from, to, true, nil
		}
		scanned = r.end
		if r.eof {
			return r.start, r.end, false, nil
		}
		if r.end-r.start > maxLine {
			return 0, 0, false, errLong
		}
		if r.start > 1 && len(r.buf)-r.end < chunk/2 {
			n := copy(r.buf[1:], r.buf[r.start:r.end])
			scanned -= r.start - 1
			r.start, r.end = 1, 1+n
		}
		if r.end == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if errors.Is(err, io.EOF) {
			r.eof = true
		} else if err != nil {
			return 0, 0, false, err
		}
	}
}
