package auditlog

import "time"

// A Report is the verdict over a directory of streams. There are two: whether
// what is there is as it was written (Intact), and whether all that was written
// is there (Complete).
type Report struct {
	Dir     string
	Streams []StreamReport // by the time of their beginning
	// Damage lists the first damage of each damaged stream, and the streams that
	// are missing.
	Damage []*Damage
	// Notes are findings about anchors and pins that neither prove nor accuse.
	Notes []string

	Total int64 // records in all streams, as far as they are there
	Bytes int64

	anchored bool // there was an anchor or a pin
	opts     VerifyOptions
}

// A StreamState says how a stream ended.
type StreamState string

// The states of a stream.
const (
	StateClosed    StreamState = "closed"    // it ends with audit.closed
	StateLive      StreamState = "live"      // a process holds its lock
	StateRecovered StreamState = "recovered" // it ended without audit.closed, and a later stream recorded how
	StateUnclosed  StreamState = "unclosed"  // it ends without audit.closed, and nobody recorded why
	StateExpired   StreamState = "expired"   // retention has removed all of it; its hashes are left
	StateEmpty     StreamState = "empty"     // it has no complete first batch: nothing in it was ever acknowledged
)

// A StreamReport is the verdict over one stream.
type StreamReport struct {
	Name  string // empty if nothing in it says so
	Dir   string // in the directory of the log
	State StreamState
	Size  int64 // records that a checkpoint covers
	Root  Hash
	// Checkpoint is the signed note of that size, and Cert the certificate of the
	// key that signed it.
	Checkpoint string
	Cert       string
	First      time.Time // of the first record that is there
	Last       time.Time

	// Torn is how many bytes follow the last checkpoint. They were never
	// acknowledged.
	Torn int64
	// AnchoredSize is how much an anchor or a pin confirms.
	AnchoredSize int64
	// Named says that an anchor or a pin names the stream, which proves nothing.
	Named bool
	// Late is how much older the oldest record that nothing confirms is than the
	// last record; zero if all are confirmed.
	Late time.Duration
	// Gaps lists up to 100 gaps; GapCount is their number.
	Gaps     []GapReport
	GapCount int
	Jumps    int64 // clock jumps
	Expired  int64 // records that retention has removed

	Damage *Damage // the first, or nil

	complete        bool
	proofs          *prover   // of VerifyOptions.Prove
	visited         int64     // records that were handed over while it was verified
	removedSegments []removal // segments of which only leaves are left
}

// A GapReport is an audit.gap record.
type GapReport struct {
	Seq      int64
	From, To time.Time
	Counts   map[string]int64 // by type, as the application handed them over
	Refused  int64            // records that the log itself could not take
	Cause    string
}

// Complete reports whether all that was written to the stream is there, as far
// as an anchor can tell.
func (s *StreamReport) Complete() bool { return s.complete }

// there is how many records of the stream can be read.
func (s *StreamReport) there() int64 { return max(0, s.Size-s.Expired) }

// Intact reports whether nothing was found that is not as it was written.
func (r *Report) Intact() bool { return len(r.Damage) == 0 }

// Complete reports whether an anchor or a pin confirms that all streams are
// there, up to the anchor lag before their last record, closed or still being
// written, and without a gap. Of a log without an anchor nobody can say so.
func (r *Report) Complete() bool {
	begun := false
	for i := range r.Streams {
		if !r.Streams[i].complete {
			return false
		}
		begun = begun || r.Streams[i].State != StateEmpty
	}
	return begun && r.anchored && r.Intact()
}

// ExitCode returns 0 for a log that is intact and complete, 2 for one that was
// tampered with, and 3 for one that is intact as far as it goes.
func (r *Report) ExitCode() int {
	switch {
	case !r.Intact():
		return 2
	case !r.Complete():
		return 3
	}
	return 0
}

// Visited reports whether VerifyOptions.Visit was given exactly what Records
// yields. If not, what it was given must not be used, and Records has to be read:
// a stream is not signed, which is damage, or it has a batch so large that no
// writer writes it.
func (r *Report) Visited() bool {
	for i := range r.Streams {
		if st := &r.Streams[i]; st.visited != st.there() {
			return false
		}
	}
	return r.opts.Visit != nil
}

// Unanchored reports whether there was neither an anchor nor a pin.
func (r *Report) Unanchored() bool { return !r.anchored }
