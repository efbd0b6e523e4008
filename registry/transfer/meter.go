package transfer

import (
	"io"
	"sync"
)

// State is how far a transfer is. What was there before counts as done.
type State struct {
	Files, AllFiles int
	Bytes, AllBytes int64
	There           int64 // of Bytes, those that did not have to be moved, which say nothing about speed
}

// Meter adds up what was moved. Its methods may be called at the same time.
type Meter struct {
	report func(State) // nil for nobody

	mu    sync.Mutex // guards state, and calls of report
	state State
}

// NewMeter returns a meter of a transfer of so many files and bytes. report, which may be
// nil, is told of each step, by one goroutine at a time.
func NewMeter(report func(State), files int, bytes int64) *Meter {
	return &Meter{report: report, state: State{AllFiles: files, AllBytes: bytes}}
}

// Have counts a file that is there already.
func (m *Meter) Have(size int64) { m.add(1, size, size) }

func (m *Meter) add(files int, bytes, there int64) {
	if m.report == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Files += files
	m.state.Bytes += bytes
	m.state.There += there
	m.report(m.state)
}

// File starts to count a file of so many bytes.
func (m *Meter) File(size int64) *File { return &File{meter: m, size: size} }

// File counts one file. However often parts of it are read again, it counts for no more
// than its size, and once it is done for exactly that.
type File struct {
	meter *Meter
	size  int64

	mu      sync.Mutex // guards counted
	counted int64
}

// Reader counts what is read from the start of the file on. Of several readers, one after
// the other, the farthest counts.
func (f *File) Reader(r io.ReadCloser) io.ReadCloser {
	if f.meter.report == nil {
		return r
	}
	return &reader{ReadCloser: r, file: f}
}

// Add counts bytes that are read in any order, each once.
func (f *File) Add(n int64) {
	f.mu.Lock()
	n = f.advance(f.counted + n)
	f.mu.Unlock()
	f.meter.add(0, n, 0)
}

// Have counts bytes that are there already, as Add counts those that are read.
func (f *File) Have(n int64) {
	f.mu.Lock()
	n = f.advance(f.counted + n)
	f.mu.Unlock()
	f.meter.add(0, n, n)
}

// Done counts the file as there.
func (f *File) Done() {
	f.mu.Lock()
	n := f.advance(f.size)
	f.mu.Unlock()
	f.meter.add(1, n, 0)
}

// reach counts the bytes up to an offset.
func (f *File) reach(offset int64) {
	f.mu.Lock()
	n := f.advance(offset)
	f.mu.Unlock()
	if n > 0 {
		f.meter.add(0, n, 0)
	}
}

// advance counts up to a number of bytes and returns how many were not counted yet; the
// caller holds mu.
func (f *File) advance(to int64) int64 {
	n := max(min(to, f.size)-f.counted, 0)
	f.counted += n
	return n
}

type reader struct {
	io.ReadCloser
	file *File
	at   int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.at += int64(n)
	r.file.reach(r.at)
	return n, err
}
