package boxindex

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// maxSources bounds the different sources of boxes; the official files have three.
const maxSources = 1 << 16

// Source is a box file.
type Source struct {
	Text io.Reader
	Name string // in messages
}

// Options say how an index is made. They do not decide what it holds.
type Options struct {
	Workers  int
	Folder   string           // for a temporary file; empty is the system's
	Progress func(rows int64) // is told the rows read so far; may be nil

	held int // in place of maxHeld, unless 0
}

// Build makes the index of a box file. It passes over the file once, in bounded memory, and
// hands each label's file, in no order, to put, which may be called from several goroutines
// and must read all of it. The error is a *openimages.RowError for a fault of the file.
func Build(ctx context.Context, src Source, o Options, put func(ctx context.Context, name string, r io.Reader) error) (Counts, error) {
	b := &builder{
		sources: sources{numbers: map[string]uint16{}},
		shelves: shelves{byID: map[openimages.LabelID]*shelf{}, folder: o.Folder, most: max(cmp.Or(o.held, maxHeld)/blockSize, 1)},
		free:    make(chan *sorted, 4*max(o.Workers, 1)),
		ordered: true,
	}
	defer b.shelves.close()
	progress := o.Progress
	if progress == nil {
		progress = func(int64) {}
	}
	err := openimages.ScanBoxes(ctx, src.Text, src.Name, o.Workers, b.sort, func(s *sorted) error {
		err := b.collect(s)
		progress(b.rows)
		return err
	})
	if err != nil {
		return Counts{}, err
	}
	b.free = nil // what follows needs the memory
	if err := b.shelves.settle(); err != nil {
		return Counts{}, fmt.Errorf("sort boxes: %w", err)
	}
	return b.write(ctx, max(o.Workers, 1), put)
}

// sources numbers the sources of boxes.
type sources struct {
	mu      sync.RWMutex // guards what follows
	numbers map[string]uint16
	names   []string
}

func (s *sources) number(name []byte) (uint16, error) {
	s.mu.RLock()
	n, ok := s.numbers[string(name)]
	s.mu.RUnlock()
	if ok {
		return n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok = s.numbers[string(name)]; ok {
		return n, nil
	}
	if len(s.names) == maxSources {
		return 0, fmt.Errorf("more than %d different sources of boxes", maxSources)
	}
	n = uint16(len(s.names))
	s.numbers[string(name)] = n
	s.names = append(s.names, string(name))
	return n, nil
}

// builder is an index at work.
type builder struct {
	sources sources
	shelves shelves
	// free has what can be used again. It is no sync.Pool: the garbage collector empties that, and
	// what is then made anew is garbage that makes it run, and memory that the process keeps.
	free chan *sorted

	rows    int64
	ordered bool // the images ascend in the file, as they do in the official ones
	last    []byte
}

// sort is the work on a piece of the file.
func (b *builder) sort(rows iter.Seq2[*openimages.BoxRow, error]) (*sorted, error) {
	s := b.empty()
	var (
		p      *pile
		source []byte
		number uint16
	)
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		// Neighbours are mostly of one label and of one source.
		if id := row.LabelID(); p == nil || string(p.id) != string(id) {
			p = s.pile(id)
		}
		if now := row.Source(); s.rows == 0 || string(source) != string(now) {
			if number, err = b.sources.number(now); err != nil {
				return nil, err
			}
			source = append(source[:0], now...)
		}
		s.add(p, row, number)
	}
	s.deal()
	return s, nil
}

// empty returns a *sorted without rows.
func (b *builder) empty() *sorted {
	select {
	case s := <-b.free:
		s.reset()
		return s
	default:
		return newSorted()
	}
}

// collect puts the rows of the next piece of the file on the shelves.
func (b *builder) collect(s *sorted) error {
	defer func() {
		select {
		case b.free <- s:
		default:
		}
	}()
	if s.rows == 0 {
		return nil
	}
	b.rows += s.rows
	b.ordered = b.ordered && s.ordered && bytes.Compare(b.last, s.first) <= 0
	b.last = append(b.last[:0], s.last...)
	for _, p := range s.piles {
		to := b.shelves.of(p.id)
		to.counts.Boxes += p.rows
		to.counts.Images += p.images
		if bytes.Equal(to.last, p.first) {
			to.counts.Images--
		}
		to.last = append(to.last[:0], p.last...)
		for a := range openimages.NumAttributes {
			to.counts.Yes[a] += p.yes[a]
			to.counts.Unknown[a] += p.unknown[a]
		}
		if err := b.shelves.add(to, p.records); err != nil {
			return fmt.Errorf("sort boxes: %w", err)
		}
	}
	return nil
}

// write writes the files of all labels.
func (b *builder) write(ctx context.Context, workers int, put func(context.Context, string, io.Reader) error) (Counts, error) {
	counts := Counts{Boxes: b.rows, Labels: make([]Label, 0, len(b.shelves.byID))}
	ids := slices.Sorted(maps.Keys(b.shelves.byID))
	var begun atomic.Int64 // of ids
	group, ctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			e := newEncoder(b)
			for {
				i := int(begun.Add(1)) - 1
				if i >= len(ids) {
					return nil
				}
				if err := e.write(ctx, b.shelves.byID[ids[i]], put); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return Counts{}, err
	}
	for _, id := range ids {
		counts.Labels = append(counts.Labels, b.shelves.byID[id].counts)
	}
	return counts, nil
}
