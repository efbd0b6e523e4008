package boxindex

import (
	"errors"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

const (
	// maxHeld bounds the records that are kept in memory, bytes. What is beyond goes to a
	// file, in pieces of some 20 KiB a label. Half of it makes pieces too small for the disk.
	maxHeld = 8 << 20
	// blockSize is how much memory a shelf takes at a time. Of 600 labels a megabyte is left
	// empty; slices that grow would have twice what they hold, and leave as much behind.
	blockSize = 4 << 10
)

// shelves hold the records of all labels: in blocks of memory, and what is beyond in a file.
type shelves struct {
	byID   map[openimages.LabelID]*shelf
	folder string // for the file

	most  int      // blocks that may be in use
	used  int      // blocks
	free  [][]byte // blocks
	spill *os.File // nil while there is nothing in it
	end   int64    // of the file
}

// shelf holds the records of a label.
type shelf struct {
	counts Label
	last   []byte   // the image of the last record
	runs   []run    // what is in the file already
	blocks [][]byte // what came after
}

// run is a piece of the file.
type run struct{ at, end int64 }

// of returns the shelf of a label.
func (s *shelves) of(id openimages.LabelID) *shelf {
	to := s.byID[id]
	if to == nil {
		to = &shelf{counts: Label{ID: id}}
		s.byID[id] = to
	}
	return to
}

// add puts records on a shelf.
func (s *shelves) add(to *shelf, records []byte) error {
	for len(records) > 0 {
		last := len(to.blocks) - 1
		if last < 0 || len(to.blocks[last]) == blockSize {
			if s.used >= s.most {
				if err := s.flush(); err != nil {
					return err
				}
			}
			to.blocks = append(to.blocks, s.block())
			last = len(to.blocks) - 1
		}
		n := min(blockSize-len(to.blocks[last]), len(records))
		to.blocks[last] = append(to.blocks[last], records[:n]...)
		records = records[n:]
	}
	return nil
}

// block returns an empty block.
func (s *shelves) block() []byte {
	s.used++
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b
	}
	return make([]byte, 0, blockSize)
}

// flush moves the blocks of all shelves to the file.
func (s *shelves) flush() error {
	if s.spill == nil {
		f, err := os.CreateTemp(s.folder, "sandwich-index-*")
		if err != nil {
			return err
		}
		// Without a name nobody finds it, and it is gone when the process is.
		if err := os.Remove(f.Name()); err != nil {
			return errors.Join(err, f.Close())
		}
		s.spill = f
	}
	for _, id := range slices.Sorted(maps.Keys(s.byID)) {
		from := s.byID[id]
		start := s.end
		for _, b := range from.blocks {
			n, err := s.spill.Write(b)
			if s.end += int64(n); err != nil {
				return err
			}
			s.free = append(s.free, b[:0])
		}
		clear(from.blocks)
		from.blocks = from.blocks[:0]
		if s.end > start {
			from.runs = append(from.runs, run{start, s.end})
		}
	}
	s.used = 0
	return nil
}

// settle makes room when all records are there: little is kept in memory where it is, and much
// goes to the file.
func (s *shelves) settle() error {
	if s.used > s.most/2 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.free = nil
	if s.spill != nil {
		// What the rows were sorted with is garbage now, and what writes them takes as much. The
		// collector would let both be there at once.
		runtime.GC()
	}
	return nil
}

func (s *shelves) close() {
	if s.spill != nil {
		_ = s.spill.Close() // nobody will read it
	}
}

// reader reads the records of a shelf, and takes them off it.
type reader struct {
	shelf *shelf
	spill *os.File
}

// Read returns io.EOF only when nothing is left.
func (r *reader) Read(p []byte) (n int, err error) {
	s := r.shelf
	switch {
	case len(s.runs) > 0:
		from := &s.runs[0]
		n, err = r.spill.ReadAt(p[:min(int64(len(p)), from.end-from.at)], from.at)
		if from.at += int64(n); from.at == from.end {
			s.runs, err = s.runs[1:], nil
		} else if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	case len(s.blocks) > 0:
		n = copy(p, s.blocks[0])
		if s.blocks[0] = s.blocks[0][n:]; len(s.blocks[0]) == 0 {
			s.blocks[0], s.blocks = nil, s.blocks[1:]
		}
	default:
		err = io.EOF
	}
	return n, err
}
