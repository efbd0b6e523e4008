package boxindex

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/parquet"
)

const (
	// maxHeld bounds the records that are kept in memory, bytes. What is beyond goes to a
	// file, in pieces of some 20 KiB a label. Half of it makes pieces too small for the disk.
	maxHeld = 8 << 20
	// groupRows are the rows of a row group.
	groupRows = 1 << 16
	// maxSources bounds the different sources of boxes; the official files have three.
	maxSources = 1 << 16
)

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
		labels: map[openimages.LabelID]*shelf{}, sources: sources{numbers: map[string]uint16{}},
		folder: o.Folder, most: cmp.Or(o.held, maxHeld), ordered: true,
	}
	defer b.close()
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
	free    sync.Pool // of *sorted
	folder  string

	labels  map[openimages.LabelID]*shelf
	rows    int64
	held    int  // bytes of all shelves
	most    int  // of them
	ordered bool // the images ascend in the file, as they do in the official ones
	last    string
	spill   *os.File
	spilled int64
}

// shelf holds the records of a label.
type shelf struct {
	counts Label
	last   string // the image of the last record
	held   []byte
	runs   []run // what is in the file already
}

// run is a piece of the file.
type run struct {
	at int64
	n  int
}

// sorted are some rows, sorted by label.
type sorted struct {
	byID        map[openimages.LabelID]*pile
	piles       []*pile // those in use come first
	used        int
	first, last []byte // images
	ordered     bool
	rows        int64
}

// pile is the rows of a label.
type pile struct {
	id          openimages.LabelID
	records     []byte
	images      int64
	rows        int64
	first, last []byte // images
	yes         [openimages.NumAttributes]int64
	unknown     [openimages.NumAttributes]int64
}

func (s *sorted) reset() {
	clear(s.byID)
	s.used, s.rows, s.ordered = 0, 0, true
	s.first, s.last = s.first[:0], s.last[:0]
}

func (s *sorted) pile(id []byte) *pile {
	if p, ok := s.byID[openimages.LabelID(id)]; ok {
		return p
	}
	if s.used == len(s.piles) {
		s.piles = append(s.piles, &pile{})
	}
	p := s.piles[s.used]
	s.used++
	*p = pile{id: openimages.LabelID(id), records: p.records[:0], first: p.first[:0], last: p.last[:0]}
	s.byID[p.id] = p
	return p
}

// sort is the work on a piece of the file.
func (b *builder) sort(rows iter.Seq2[*openimages.BoxRow, error]) (*sorted, error) {
	s, ok := b.free.Get().(*sorted)
	if !ok {
		s = &sorted{byID: map[openimages.LabelID]*pile{}}
	}
	s.reset()
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
		image := row.ImageID()
		if s.rows == 0 {
			s.first = append(s.first, image...)
		}
		if string(s.last) != string(image) {
			s.ordered = s.ordered && string(s.last) < string(image)
			s.last = append(s.last[:0], image...)
		}
		same := p.rows > 0 && string(p.last) == string(image)
		if !same {
			if p.rows == 0 {
				p.first = append(p.first, image...)
			}
			p.images++
			p.last = append(p.last[:0], image...)
		}
		flags := flagsOf(row)
		p.records = appendRecord(p.records, row, same, flags, number)
		p.rows++
		s.rows++
		for a := range openimages.NumAttributes {
			switch flagAt(flags, a) {
			case openimages.Yes:
				p.yes[a]++
			case openimages.Unknown:
				p.unknown[a]++
			case openimages.No:
			}
		}
	}
	return s, nil
}

// collect puts the rows of the next piece of the file on the shelves.
func (b *builder) collect(s *sorted) error {
	defer b.free.Put(s)
	if s.rows == 0 {
		return nil
	}
	b.rows += s.rows
	b.ordered = b.ordered && s.ordered && b.last <= string(s.first)
	b.last = string(s.last)
	for _, p := range s.piles[:s.used] {
		to := b.labels[p.id]
		if to == nil {
			to = &shelf{counts: Label{ID: p.id}}
			b.labels[p.id] = to
		}
		to.counts.Boxes += p.rows
		to.counts.Images += p.images
		if to.last == string(p.first) {
			to.counts.Images--
		}
		to.last = string(p.last)
		for a := range openimages.NumAttributes {
			to.counts.Yes[a] += p.yes[a]
			to.counts.Unknown[a] += p.unknown[a]
		}
		to.held = append(to.held, p.records...)
		b.held += len(p.records)
	}
	if b.held <= b.most {
		return nil
	}
	return b.flush()
}

// flush moves the records to the file.
func (b *builder) flush() error {
	if b.spill == nil {
		f, err := os.CreateTemp(b.folder, "sandwich-index-*")
		if err != nil {
			return fmt.Errorf("sort boxes: %w", err)
		}
		// Without a name nobody finds it, and it is gone when the process is.
		if err := os.Remove(f.Name()); err != nil {
			return errors.Join(fmt.Errorf("sort boxes: %w", err), f.Close())
		}
		b.spill = f
	}
	for _, id := range slices.Sorted(maps.Keys(b.labels)) {
		s := b.labels[id]
		if len(s.held) == 0 {
			continue
		}
		if _, err := b.spill.Write(s.held); err != nil {
			return fmt.Errorf("sort boxes: %w", err)
		}
		s.runs = append(s.runs, run{b.spilled, len(s.held)})
		b.spilled += int64(len(s.held))
		s.held = s.held[:0]
	}
	b.held = 0
	return nil
}

func (b *builder) close() {
	if b.spill != nil {
		_ = b.spill.Close() // nobody will read it
	}
}

// write writes the files of all labels.
func (b *builder) write(ctx context.Context, workers int, put func(context.Context, string, io.Reader) error) (Counts, error) {
	counts := Counts{Boxes: b.rows, Labels: make([]Label, 0, len(b.labels))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, id := range slices.Sorted(maps.Keys(b.labels)) {
		s := b.labels[id]
		group.Go(func() error { return b.writeLabel(ctx, s, put) })
	}
	if err := group.Wait(); err != nil {
		return Counts{}, err
	}
	for _, s := range b.labels {
		counts.Labels = append(counts.Labels, s.counts)
	}
	slices.SortFunc(counts.Labels, func(a, b Label) int { return cmp.Compare(a.ID, b.ID) })
	return counts, nil
}

// writeLabel writes the file of a label.
func (b *builder) writeLabel(ctx context.Context, s *shelf, put func(context.Context, string, io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(b.encode(ctx, s, w))
	}()
	err := put(ctx, FileName(s.counts.ID), r)
	r.CloseWithError(err) // lets the writer go when not all was wanted
	<-done
	return err
}

// encode writes the records of a label as Parquet.
func (b *builder) encode(ctx context.Context, s *shelf, w io.Writer) error {
	// Pages are mostly small, and each write wakes up who reads the other end of the pipe.
	buffered := bufio.NewWriterSize(w, 256<<10)
	file := parquet.NewWriter(buffered, columns)
	group := newGroup(string(s.counts.ID))
	var images []uint64 // hashes, when equal images need not be neighbours
	for text, err := range b.pieces(s) {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		in := records{text: text}
		for rec, ok := in.next(); ok; rec, ok = in.next() {
			if !b.ordered {
				images = append(images, hashOf(rec.image))
			}
			if group.add(rec, b.sources.names); group.rows == groupRows {
				if err := group.write(file); err != nil {
					return err
				}
			}
		}
	}
	if err := group.write(file); err != nil {
		return err
	}
	if !b.ordered {
		slices.Sort(images)
		s.counts.Images = int64(len(slices.Compact(images)))
	}
	return errors.Join(file.Close("box index 1"), buffered.Flush())
}

// pieces yields the records of a shelf. Each piece begins with a record that has an image.
func (b *builder) pieces(s *shelf) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, r := range s.runs {
			text := make([]byte, r.n)
			if _, err := b.spill.ReadAt(text, r.at); err != nil {
				yield("", fmt.Errorf("sort boxes: %w", err))
				return
			}
			if !yield(string(text), nil) {
				return
			}
		}
		if len(s.held) > 0 {
			yield(string(s.held), nil)
		}
	}
}

// hashOf is 64 bits of FNV-1a: of a million images, two are taken for one with a probability
// of three in a hundred million.
func hashOf(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}
