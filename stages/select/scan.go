package selection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"sync/atomic"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/licence"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/sorted"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// scan is one run. It passes over the boxes of the labels to find the photos that have some, over
// the image files for what they say of these, and over the boxes again. Both are sorted by
// photo, on the disk when there are many, so that the rules are applied to one photo after the
// other and memory holds no more of all photos than a digest. With a limit, photos are gone through twice: which of
// them are chosen is not known before all have been seen.
type scan struct {
	task       *stages.Task
	metadata   cas.Tree
	subsets    []string
	exclude    []openimages.Attribute
	limit      int
	licences   []licence.Licence // that a photo may have; none means any
	names      *openimages.Classes
	labels     Resolved
	boxFiles   []cas.File // of the labels
	imageFiles []source
	done, size int64 // bytes read in the passes over files, and to read

	numbers map[digest]uint32 // of the photos with a box of the labels
	subset  []uint8           // by number: index into subsets, or unlisted
	images  *sorted.Records   // of these photos
	boxes   *sorted.Records   // of the labels
	choices []choice          // of Resolved.asked

	rules []string // their names, in order

	// What follows is counted while the photos are gone through.
	boxesRead, imagesRead int64            // rows, of all labels
	photosListed          int64            // listed photos with a box of the labels
	reached               []int64          // photos, by the furthest rule that any of their boxes came to
	dropped               []int64          // boxes, by the rule that dropped them
	examples              []examples       // of dropped boxes, by rule
	unknown               []int64          // boxes that do not say whether they have exclude[i]
	unlicensed            int64            // photos of which no licence is known, while some are asked for
	example               openimages.Image // of these, the one of the smallest id

	// What follows is counted of what is selected.
	selected []bool            // which of the listed photos, in the order of the output
	all      tally             // of all classes
	byClass  map[string]*tally // of each
	shared   int64             // boxes that several labels asked for
	moved    map[[2]int]int64  // boxes, by who else asked for them and who got them
}

// tally counts boxes and their photos.
type tally struct {
	boxes, photos int64
	last          int64 // the photo that was counted last: how many were selected up to it
}

// unlisted is in place of the subset of a photo that the image files do not list. It comes behind all others.
const unlisted = 0xff

// sortMemory is how much memory boxes may take while they are sorted, and photos as well, bytes.
// Half of it or twice takes as long, for all boxes of Open Images.
const sortMemory = 16 << 20

// source is a metadata file.
type source struct {
	path   string
	subset int // index into scan.subsets
}

func newScan(ctx context.Context, k Kind, t *stages.Task) (*scan, error) {
	s := &scan{
		task:     t,
		metadata: t.Input("metadata"),
		subsets:  k.Subsets,
		limit:    k.Limit,
		numbers:  map[digest]uint32{},
		images:   sorted.NewRecords(k.Scratch, cmp.Or(k.held, sortMemory)),
		boxes:    sorted.NewRecords(k.Scratch, cmp.Or(k.held, sortMemory)),
		byClass:  map[string]*tally{},
		moved:    map[[2]int]int64{},
	}
	for _, name := range k.Exclude {
		a, err := openimages.ParseAttribute(name)
		if err != nil {
			return nil, err
		}
		s.exclude = append(s.exclude, a)
	}
	slices.Sort(s.exclude)
	s.exclude = slices.Compact(s.exclude)
	for _, name := range k.Licence {
		l, err := licence.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("licence %q: %w", name, err)
		}
		s.licences = append(s.licences, l)
	}
	s.nameRules()
	var err error
	if s.labels, s.names, err = readLabels(ctx, s.metadata, k.Labels); err != nil {
		return nil, err
	}
	for _, class := range s.labels.Classes() {
		s.byClass[class] = new(tally)
	}
	if err := s.findBoxFiles(ctx); err != nil {
		return nil, err
	}
	if err := s.findImageFiles(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// findBoxFiles finds the files of the labels, and counts the boxes of all labels. An index
// that serves several subsets is read once.
func (s *scan) findBoxFiles(ctx context.Context) (err error) {
	file, err := s.metadata.Open(ctx, boxindex.LabelsFile)
	if err != nil {
		return fmt.Errorf("open %s: %w", boxindex.LabelsFile, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	counts, err := boxindex.ReadCounts(file)
	if err != nil {
		return err
	}
	seen := map[cas.TreeID]bool{}
	for _, subset := range s.subsets {
		at := slices.IndexFunc(counts, func(c boxindex.Counts) bool { return c.Subset == subset })
		if at < 0 {
			return fmt.Errorf("%s has no subset %s", boxindex.LabelsFile, subset)
		}
		if counts[at].Boxes == 0 {
			continue
		}
		folder, err := s.metadata.Sub(ctx, boxindex.Folder(subset))
		if err != nil {
			return fmt.Errorf("boxes of subset %s: %w", subset, err)
		}
		if seen[folder.ID()] {
			continue
		}
		seen[folder.ID()] = true
		s.boxesRead += counts[at].Boxes
		for _, id := range s.labels.LabelIDs() {
			name := path.Join(boxindex.Folder(subset), boxindex.FileName(id))
			digest, err := s.metadata.Lookup(ctx, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // there are none
			}
			if err != nil {
				return err
			}
			s.boxFiles = append(s.boxFiles, cas.File{Path: name, Digest: digest})
			s.size += 2 * digest.Size()
		}
	}
	return nil
}

// findImageFiles finds the image files of the subsets. One that serves several subsets is read
// once: which subset a photo is in is then in its row.
func (s *scan) findImageFiles(ctx context.Context) error {
	seen := map[cas.Digest]bool{}
	for i, subset := range s.subsets {
		digest, err := s.metadata.Lookup(ctx, openimages.ImagesFile(subset))
		if err != nil {
			return fmt.Errorf("metadata of subset %s: %w", subset, err)
		}
		if !seen[digest] {
			seen[digest] = true
			s.imageFiles = append(s.imageFiles, source{path: openimages.ImagesFile(subset), subset: i})
			s.size += digest.Size()
		}
	}
	return nil
}

// findPhotos is the first pass over the boxes.
func (s *scan) findPhotos(ctx context.Context) error {
	return eachRow(ctx, s, boxindex.Photos, func(id openimages.ImageID) error {
		d := digestOf(id)
		if _, ok := s.numbers[d]; !ok {
			s.numbers[d] = uint32(len(s.numbers))
			s.subset = append(s.subset, unlisted)
		}
		return nil
	})
}

// readImages is the pass over the images. Rows are read in pieces by several goroutines, which
// look for the photos that have boxes.
func (s *scan) readImages(ctx context.Context) error {
	for _, file := range s.imageFiles {
		if err := s.readImageFile(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) readImageFile(ctx context.Context, file source) (err error) {
	text, err := s.metadata.Open(ctx, file.path)
	if err != nil {
		return fmt.Errorf("open %s: %w", file.path, err)
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	read := &counter{Reader: text}
	err = openimages.ScanImages(ctx, read, file.path, s.task.Workers(), func(rows iter.Seq2[*openimages.ImageRow, error]) (piece, error) {
		return s.find(rows, file), nil
	}, func(p piece) error {
		s.imagesRead += p.rows
		for i := range p.photos {
			if err := s.list(&p.photos[i], file); err != nil {
				return err
			}
		}
		s.task.Progress(s.done+read.n.Load(), s.size, "bytes")
		return p.err
	})
	s.done += read.n.Load()
	return err
}

// piece is what a piece of an image file comes to.
type piece struct {
	rows   int64 // of the subsets
	photos []found
	err    error // what ended it
}

// found is a photo with a box of the labels asked for.
type found struct {
	number uint32
	line   int // of the file
	subset uint8
	id     openimages.ImageID
	record []byte // see appendListed
}

// find finds the photos of a piece of an image file. Several goroutines run it: all that it
// knows of a photo is what the pass over the boxes has found.
func (s *scan) find(rows iter.Seq2[*openimages.ImageRow, error], file source) (p piece) {
	for row, err := range rows {
		if err != nil {
			p.err = err
			return p
		}
		subset := file.subset
		if name := row.Subset(); len(name) > 0 {
			if subset = slices.Index(s.subsets, string(name)); subset < 0 {
				continue
			}
		}
		p.rows++
		id := openimages.ImageID(row.ImageID())
		number, ok := s.numbers[digestOf(id)]
		if !ok {
			continue
		}
		var l listed
		l.image, err = row.Image()
		if invalid, ok := errors.AsType[*openimages.RowError](err); ok {
			// Of no concern unless the photo is selected.
			l.invalid, l.image.License = *invalid, string(row.License())
		}
		p.photos = append(p.photos, found{number: number, line: row.Line(), subset: uint8(subset), id: id, record: appendListed(nil, &l)})
	}
	return p
}

// list takes up a photo that an image file lists.
func (s *scan) list(f *found, file source) error {
	if s.subset[f.number] != unlisted {
		return &openimages.RowError{
			File: file.path, Line: f.line, Column: "ImageID", Problem: fmt.Sprintf("the photo %s is listed a second time", f.id),
		}
	}
	s.subset[f.number] = f.subset
	return s.images.Add(keyOf(nil, f.subset, f.id), f.record)
}

// readBoxes is the second pass over the boxes.
func (s *scan) readBoxes(ctx context.Context) error {
	var (
		last   openimages.ImageID
		photo  []byte // its key
		record []byte
	)
	s.dropped[ruleLabel] = s.boxesRead
	return eachRow(ctx, s, boxindex.Boxes, func(box openimages.Box) error {
		s.dropped[ruleLabel]--
		if box.ImageID != last {
			last = box.ImageID
			photo = keyOf(photo[:0], s.subset[s.numbers[digestOf(last)]], last)
		}
		record = appendBox(record[:0], &box)
		return s.boxes.Add(photo, record)
	})
}

// eachRow passes over the index of the labels' boxes.
func eachRow[T any](ctx context.Context, s *scan, rows func([]byte) iter.Seq2[T, error], each func(T) error) error {
	for _, file := range s.boxFiles {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		data, err := s.metadata.ReadFile(ctx, file.Path)
		if err != nil {
			return fmt.Errorf("open %s: %w", file.Path, err)
		}
		n := 0
		for row, err := range rows(data) {
			if err != nil {
				return fmt.Errorf("%s: %w", file.Path, err)
			}
			if n++; n%rowsPerCheck == 0 {
				if err := context.Cause(ctx); err != nil {
					return err
				}
			}
			if err := each(row); err != nil {
				return err
			}
		}
		s.done += file.Digest.Size()
		s.task.Progress(s.done, s.size, "bytes")
	}
	return nil
}

// rowsPerCheck is how many rows pass between two looks at the context: some
// milliseconds of work.
const rowsPerCheck = 1 << 14

// counter counts what is read through it.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
