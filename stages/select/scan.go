package selection

import (
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
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// scan is one run. It passes over the boxes of the labels to find the photos that have
// some, over the image files to choose among those, and over the boxes again
// to collect them: with a limit, which boxes are wanted is not known before all
// photos have been seen, and keeping all of them until then would take memory for
// many more than are selected.
type scan struct {
	task       *stages.Task
	metadata   cas.Tree
	subsets    []string
	exclude    []openimages.Attribute
	limit      int
	licences   []licence.Licence // that a photo may have; none means any
	classes    *openimages.Classes
	labels     Resolved
	boxFiles   []cas.File // of the labels
	imageFiles []source
	done, all  int64 // bytes read, and to read

	rules  []string // their names, in order
	photos map[openimages.ImageID]*photo
	boxes  []kept // in the order of the output
	texts  texts  // of boxes

	boxesRead, imagesRead int64            // rows, of all labels
	photosWithLabel       int64            // listed photos with a box of the labels
	candidates            int              // boxes that passed the rules on boxes
	dropped               []int64          // boxes, by the rule that dropped them
	examples              []examples       // of dropped boxes, by rule
	unknown               []int64          // boxes that do not say whether they have s.exclude[i]
	moved                 map[[2]int]int64 // selected boxes, by who else asked for them and who got them
	unlicensed            int64            // photos of which no licence is known, while some are asked for
	example               struct {         // of these, the one of the smallest id
		id      openimages.ImageID
		licence string
	}
}

// photo is what is known of a photo with a box of the labels asked for.
type photo struct {
	id      openimages.ImageID
	reached int               // the furthest rule that any of its boxes came to
	asked   []int             // labels that ask for a box of it that passed the rules on boxes
	chosen  []int             // those of them that it was chosen for
	subset  int               // index into scan.subsets; only when listed
	listed  bool              // in the image files
	refused bool              // for its licence
	image   *openimages.Image // when chosen for any label
}

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
		photos:   map[openimages.ImageID]*photo{},
		moved:    map[[2]int]int64{},
		texts:    texts{numbers: map[string]uint32{}},
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
	if s.labels, s.classes, err = readLabels(ctx, s.metadata, k.Labels); err != nil {
		return nil, err
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
			s.all += 2 * digest.Size()
		}
	}
	s.dropped[ruleLabel] = s.boxesRead
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
			s.all += digest.Size()
		}
	}
	return nil
}

// findPhotos is the first pass over the boxes. It applies the rules that need no more
// than the box.
func (s *scan) findPhotos(ctx context.Context) error {
	return s.eachBox(ctx, func(box *openimages.Box) {
		s.dropped[ruleLabel]--
		owner := s.labels.owners[box.LabelID]
		p := s.photos[box.ImageID]
		if p == nil {
			p = &photo{id: box.ImageID}
			s.photos[box.ImageID] = p
		}
		rule := s.checkBox(box)
		p.reached = max(p.reached, rule)
		if rule < s.ruleUnlisted() {
			s.dropped[rule]++
			return
		}
		s.candidates++
		if !slices.Contains(p.asked, owner.asked) {
			p.asked = append(p.asked, owner.asked)
		}
		for i, a := range s.exclude {
			if box.Flags[a] == openimages.Unknown {
				s.unknown[i]++
			}
		}
	})
}

// choosePhotos is the pass over the images. Rows are read in pieces by several goroutines, which
// look for the photos that have boxes; these choose in the order of the file.
func (s *scan) choosePhotos(ctx context.Context) error {
	choices := make([]choice, len(s.labels.asked))
	for _, file := range s.imageFiles {
		if err := s.choose(ctx, file, choices); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) choose(ctx context.Context, file source, choices []choice) (err error) {
	text, err := s.metadata.Open(ctx, file.path)
	if err != nil {
		return fmt.Errorf("open %s: %w", file.path, err)
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	read := &counter{Reader: text}
	err = openimages.ScanImages(ctx, read, file.path, s.task.Workers(), func(rows iter.Seq2[*openimages.ImageRow, error]) (listing, error) {
		return s.list(rows, file), nil
	}, func(l listing) error {
		s.imagesRead += l.rows
		for i := range l.photos {
			if err := s.offer(&l.photos[i], file, choices); err != nil {
				return err
			}
		}
		s.task.Progress(s.done+read.n.Load(), s.all, "bytes")
		return l.err
	})
	s.done += read.n.Load()
	return err
}

// listing is what a piece of an image file comes to.
type listing struct {
	rows   int64 // of the subsets
	photos []listed
	err    error // what ended it
}

// listed is a photo with a box of the labels asked for.
type listed struct {
	id      openimages.ImageID
	line    int // of the file
	subset  int
	licence string
	image   openimages.Image
	invalid error // in place of image; of no concern unless the photo is chosen
}

// list finds the photos of a piece of an image file. Several goroutines run it: all that it
// knows of a photo is what the pass over the boxes has found.
func (s *scan) list(rows iter.Seq2[*openimages.ImageRow, error], file source) (l listing) {
	for row, err := range rows {
		if err != nil {
			l.err = err
			return l
		}
		subset := file.subset
		if name := row.Subset(); len(name) > 0 {
			if subset = slices.Index(s.subsets, string(name)); subset < 0 {
				continue
			}
		}
		l.rows++
		p := s.photos[openimages.ImageID(row.ImageID())]
		if p == nil {
			continue
		}
		found := listed{
			id: openimages.ImageID(row.ImageID()), line: row.Line(), subset: subset, licence: string(row.License()),
		}
		if len(p.asked) > 0 {
			found.image, found.invalid = row.Image()
			found.image.Subset = s.subsets[subset]
		}
		l.photos = append(l.photos, found)
	}
	return l
}

// offer lets the labels that ask for a photo choose it.
func (s *scan) offer(found *listed, file source, choices []choice) error {
	p := s.photos[found.id]
	if p.listed {
		return &openimages.RowError{
			File: file.path, Line: found.line, Column: "ImageID", Problem: fmt.Sprintf("the photo %s is listed a second time", found.id),
		}
	}
	p.listed, p.subset = true, found.subset
	s.photosWithLabel++
	if p.refused = len(p.asked) > 0 && !s.licensed(found.id, found.licence); p.refused {
		return nil
	}
	for _, label := range p.asked {
		if out := choices[label].offer(found.id, p, s.limit); out != nil {
			out.chosen = slices.DeleteFunc(out.chosen, func(l int) bool { return l == label })
			if len(out.chosen) == 0 {
				out.image = nil // so that memory holds what is selected only
			}
			if out == p {
				continue
			}
		}
		p.chosen = append(p.chosen, label)
	}
	if len(p.chosen) == 0 {
		return nil
	}
	if found.invalid != nil {
		return found.invalid
	}
	image := found.image // on its own: the others of its piece need not stay
	p.image = &image
	return nil
}

// licensed reports whether a photo has one of the licences asked for.
func (s *scan) licensed(id openimages.ImageID, text string) bool {
	if len(s.licences) == 0 {
		return true
	}
	l, err := licence.Parse(text)
	if err != nil {
		s.unlicensed++
		if s.unlicensed == 1 || id < s.example.id {
			s.example.id, s.example.licence = id, text
		}
		return false
	}
	return slices.ContainsFunc(s.licences, func(asked licence.Licence) bool { return asked.Covers(l) })
}

// collectBoxes is the second pass over the boxes.
func (s *scan) collectBoxes(ctx context.Context) error {
	if s.limit == 0 { // nearly all of them stay
		s.boxes = make([]kept, 0, s.candidates)
	}
	err := s.eachBox(ctx, func(box *openimages.Box) {
		if rule := s.checkBox(box); rule < s.ruleUnlisted() {
			s.show(box, rule)
			return
		}
		owner, p := s.labels.owners[box.LabelID], s.photos[box.ImageID]
		switch {
		case !p.listed:
			s.drop(p, s.ruleUnlisted())
			s.show(box, s.ruleUnlisted())
		case p.refused:
			s.drop(p, s.ruleLicence())
			s.show(box, s.ruleLicence())
		case !slices.Contains(p.chosen, owner.asked):
			s.drop(p, s.ruleLimit())
			s.show(box, s.ruleLimit())
		default:
			p.reached = len(s.rules)
			s.keep(box, p)
		}
	})
	if err != nil {
		return err
	}
	s.sortBoxes()
	for i := range s.boxes {
		owner := s.labels.owners[s.labelID(&s.boxes[i])]
		for _, other := range owner.other {
			s.moved[[2]int{other, owner.asked}]++
		}
	}
	return nil
}

// eachBox passes over the boxes of the labels.
func (s *scan) eachBox(ctx context.Context, each func(*openimages.Box)) error {
	for _, file := range s.boxFiles {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		data, err := s.metadata.ReadFile(ctx, file.Path)
		if err != nil {
			return fmt.Errorf("open %s: %w", file.Path, err)
		}
		rows := 0
		for box, err := range boxindex.Boxes(data) {
			if err != nil {
				return fmt.Errorf("%s: %w", file.Path, err)
			}
			if rows++; rows%rowsPerCheck == 0 {
				if err := context.Cause(ctx); err != nil {
					return err
				}
			}
			each(&box)
		}
		s.done += file.Digest.Size()
		s.task.Progress(s.done, s.all, "bytes")
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
