package auditlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// A Head says how far a stream had come: so many records, with that root.
type Head struct {
	Stream string
	Size   int64
	Root   Hash
	// Checkpoint is the signed note that says so, and Cert the certificate of the
	// key that signed it. Both are empty in a pin noted by hand.
	Checkpoint string
	Cert       string
}

// String returns the short form that [ParsePin] reads.
func (h Head) String() string { return fmt.Sprintf("%s:%d:%s", h.Stream, h.Size, h.Root) }

// An Anchor keeps heads where whoever can change the log cannot change them:
// under another account, on another machine, in a store that does not overwrite.
// What it keeps decides what a verifier can say about the end of a log.
//
// Implementations must be safe for concurrent use, by several processes.
type Anchor interface {
	// Put returns nil when the head is kept durably, beside all earlier ones. To
	// put a head again is no error. A head that contradicts one that is kept (the
	// same size with another root) is an error that wraps [ErrFork].
	Put(ctx context.Context, head Head) error

	// Streams yields the names of all streams of which something is kept.
	Streams(ctx context.Context) iter.Seq2[string, error]

	// Heads yields what is kept of a stream, the smallest size first. Of a stream
	// it does not know it yields nothing.
	Heads(ctx context.Context, stream string) iter.Seq2[Head, error]
}

// ErrFork reports a head that contradicts another: the stream has two histories.
var ErrFork = errors.New("auditlog: two different histories of one stream")

// ParsePin reads a head that somebody has noted: the text of a checkpoint as it
// stands in the log, or the short form stream:size:root of [Head.String].
func ParsePin(text string) (Head, error) {
	text = strings.TrimSpace(text)
	if body, ok := strings.CutPrefix(text, cpHead); ok { // a line of the log
		text = strings.ReplaceAll(strings.TrimSuffix(body, `"}`), `\n`, "\n")
	}
	var parts []string
	if strings.Contains(text, "\n") {
		parts = strings.SplitN(text, "\n", 4)
	} else if i := strings.LastIndexByte(text, ':'); i > 0 {
		if j := strings.LastIndexByte(text[:i], ':'); j > 0 {
			parts = []string{text[:j], text[j+1 : i], text[i+1:]}
		}
	}
	if len(parts) < 3 || !validName(parts[0]) {
		return Head{}, errors.New("auditlog: a pin is stream:size:root, or the text of a checkpoint")
	}
	size, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || size <= 0 {
		return Head{}, fmt.Errorf("auditlog: pin: %.40q is not a size", parts[1])
	}
	h := Head{Stream: parts[0], Size: size}
	if len(parts[2]) != hashLen || !decodeHash(&h.Root, []byte(parts[2])) {
		return Head{}, fmt.Errorf("auditlog: pin: %.60q is not a hash", parts[2])
	}
	return h, nil
}

// checkHead verifies the signatures of a head that an anchor keeps.
func checkHead(h Head, roots []publicKey) error {
	key, err := checkCert(h.Cert, roots)
	if err != nil {
		return err
	}
	text, sigLine, ok := strings.Cut(h.Checkpoint, "\n\n— "+h.Stream+" ")
	sigLine, ended := strings.CutSuffix(sigLine, "\n")
	sig, err := strictBase64.DecodeString(sigLine)
	if !ok || !ended || err != nil || len(sig) != 68 || len(sigLine) != sigLen {
		return errors.New("the checkpoint is malformed")
	}
	text += "\n"
	if want := string(appendSigned(nil, h.Stream, h.Size, &h.Root)); text != want || key.name != h.Stream {
		return errors.New("the checkpoint says something else than the head")
	}
	if !key.verifies([]byte(text), sig) {
		return errors.New("the checkpoint is not signed by the key of its stream")
	}
	return nil
}
