package auditlog

import "sync/atomic"

const (
	// parcelBytes is how much is handed over at a time, or one batch if that is more.
	parcelBytes = 256 << 10
	// maxBatch is the largest batch that is kept until its checkpoint comes. It is
	// far beyond what a writer gathers; a forger could leave checkpoints out.
	maxBatch = 32 << 20
	// parcels is how many are on their way at the same time.
	parcels = 4
)

// handover gives the records of a log to VerifyOptions.Visit, in a goroutine of
// its own, while the next ones are being verified. A record waits until a
// checkpoint covers it.
type handover struct {
	visit  func([]Record) error
	full   chan *parcel
	free   chan *parcel
	done   chan struct{}
	failed atomic.Bool
	err    error // of visit; valid when done is closed

	now     *parcel
	gone    bool  // of this stream no more is handed over
	visited int64 // records of this stream
}

// parcel has copies of lines: the reader needs its memory again.
type parcel struct {
	lines   []byte
	entries []entry
	sealed  int // so many of them are covered by a checkpoint
	stream  string
	records []Record
}

// entry is a record in a parcel.
type entry struct {
	end, body, time int // in lines: behind it; where event and time begin
	seq             int64
	leaf            Hash
	own             bool
	file            string
}

func newHandover(visit func([]Record) error) *handover {
	if visit == nil {
		return nil
	}
	h := &handover{visit: visit, full: make(chan *parcel, parcels), free: make(chan *parcel, parcels), done: make(chan struct{})}
	for range parcels {
		h.free <- &parcel{}
	}
	go h.run()
	return h
}

func (h *handover) run() {
	defer close(h.done)
	for p := range h.full {
		if h.err == nil {
			if h.err = h.visit(p.open()); h.err != nil {
				h.failed.Store(true)
			}
		}
		if cap(p.lines) > 4*parcelBytes {
			p.lines = nil // one large batch is not kept for ever
		}
		h.free <- p
	}
}

// open makes records of what is sealed in a parcel.
func (p *parcel) open() []Record {
	p.records = p.records[:0]
	from := 0
	for i := range p.entries[:p.sealed] {
		e := &p.entries[i]
		line := p.lines[from:e.end:e.end]
		p.records = append(p.records, Record{
			Stream: p.stream, Seq: e.seq, Time: parseTime(line[e.time:][:len(timeLayout)]), Leaf: e.leaf, Own: e.own,
			Event: line[e.body : len(line)-1 : len(line)-1], Line: line, File: e.file,
		})
		from = e.end
	}
	return p.records
}

// begin is called before the first record of a stream.
func (h *handover) begin() {
	h.gone, h.visited = false, 0
	h.now = <-h.free
	h.now.clear()
}

func (p *parcel) clear() { p.lines, p.entries, p.sealed = p.lines[:0], p.entries[:0], 0 }

// add takes a record that is not sealed yet.
func (h *handover) add(s *scan, r *scanned) {
	p := h.now
	if h.gone {
		return
	}
	if len(p.entries) == p.sealed {
		p.stream = s.name
	}
	file := ""
	if n := len(p.entries); n > 0 && sameSegment(p.entries[n-1].file, r.seg) {
		file = p.entries[n-1].file
	} else {
		file = s.sub + "/" + r.seg
	}
	p.lines = append(p.lines, r.raw...)
	body := len(r.raw) - len("}") - len(r.body)
	time := body - len(recordBody) - hashLen - len(recordPrev) - len(timeLayout) // recordBody and ownBody are of one length
	p.entries = append(p.entries, entry{end: len(p.lines), body: body, time: time, seq: r.seq, leaf: r.leaf, own: r.own, file: file})
	if from := p.unsealed(); len(p.lines)-from > maxBatch {
		p.lines, p.entries = p.lines[:from], p.entries[:p.sealed]
		h.gone = true
	}
}

func sameSegment(file, name string) bool {
	return len(file) > len(name) && file[len(file)-len(name):] == name
}

// unsealed is where in lines the first record begins that no checkpoint covers.
func (p *parcel) unsealed() int {
	if p.sealed == 0 {
		return 0
	}
	return p.entries[p.sealed-1].end
}

// sealed is called at a checkpoint.
func (h *handover) sealed() error {
	if h.gone {
		return nil
	}
	h.now.sealed = len(h.now.entries)
	if len(h.now.lines) < parcelBytes {
		return nil
	}
	return h.send()
}

// send hands over what is sealed, and throws away what is not.
func (h *handover) send() error {
	p := h.now
	h.visited += int64(p.sealed)
	if p.sealed > 0 {
		h.full <- p
		h.now = <-h.free
	}
	h.now.clear()
	if h.failed.Load() {
		return errVisit
	}
	return nil
}

// end is called behind the last record of a stream. It returns how many of its
// records were handed over.
func (h *handover) end() (visited int64, err error) {
	err = h.send()
	h.free <- h.now
	h.now = nil
	return h.visited, err
}

// finish waits until everything was visited, and returns the error of Visit.
func (h *handover) finish() error {
	close(h.full)
	<-h.done
	return h.err
}
