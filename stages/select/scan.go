package selection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// scan is one run. It passes over the box files to find the photos that have boxes of
// the labels, over the image files to choose among those, and over the box files again
// to collect the boxes: with a limit, which boxes are wanted is not known before all
// photos have been seen, and keeping all of them until then would take memory for
// many more than are selected.
type scan struct {
	task       *stages.Task
	metadata   cas.Tree
	subsets    []string
	exclude    []openimages.Attribute
	limit      int
	classes    *openimages.Classes
	labels     Resolved
	boxFiles   []source
	imageFiles []source
	done, all  int64 // bytes read, and to read

	rules  []string // their names, in order
	photos map[openimages.ImageID]*photo
	boxes  []openimages.SelectedBox // in the order of the output

	boxesRead, imagesRead int64            // rows
	photosWithLabel       int64            // listed photos with a box of the labels
	dropped               []int64          // boxes, by the rule that dropped them
	unknown               []int64          // boxes that do not say whether they have s.exclude[i]
	moved                 map[[2]int]int64 // selected boxes, by who else asked for them and who got them
}

// photo is what is known of a photo with a box of the labels asked for.
type photo struct {
	reached int               // the furthest rule that any of its boxes came to
	asked   []int             // labels that ask for a box of it that passed the rules on boxes
	chosen  []int             // those of them that it was chosen for
	subset  int               // index into scan.subsets; only when listed
	listed  bool              // in the image files
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
	var err error
	if s.labels, s.classes, err = readLabels(ctx, s.metadata, k.Labels); err != nil {
		return nil, err
	}
	var boxBytes, imageBytes int64
	if s.boxFiles, boxBytes, err = s.sources(ctx, openimages.BoxesFile); err != nil {
		return nil, err
	}
	if s.imageFiles, imageBytes, err = s.sources(ctx, openimages.ImagesFile); err != nil {
		return nil, err
	}
	s.all = 2*boxBytes + imageBytes
	s.nameRules()
	return s, nil
}

// sources returns the files of the subsets and their size. A file that serves several
// subsets is read once: which subset a photo is in is then in its row.
func (s *scan) sources(ctx context.Context, path func(subset string) string) (files []source, bytes int64, err error) {
	seen := map[cas.Digest]bool{}
	for i, subset := range s.subsets {
		digest, err := s.metadata.Lookup(ctx, path(subset))
		if err != nil {
			return nil, 0, fmt.Errorf("metadata of subset %s: %w", subset, err)
		}
		if !seen[digest] {
			seen[digest] = true
			files = append(files, source{path: path(subset), subset: i})
			bytes += digest.Size()
		}
	}
	return files, bytes, nil
}

// findPhotos is the first pass over the boxes. It applies the rules that need no more
// than the box.
func (s *scan) findPhotos(ctx context.Context) error {
	return s.eachBox(ctx, func(row *openimages.BoxRow) {
		s.boxesRead++
		owner, ok := s.labels.owners[openimages.LabelID(row.LabelID())]
		if !ok {
			s.dropped[ruleLabel]++
			return
		}
		p := s.photos[openimages.ImageID(row.ImageID())]
		if p == nil {
			p = &photo{}
			s.photos[openimages.ImageID(row.ImageID())] = p
		}
		rule := s.checkBox(row)
		p.reached = max(p.reached, rule)
		if rule < s.ruleUnlisted() {
			s.dropped[rule]++
			return
		}
		if !slices.Contains(p.asked, owner.asked) {
			p.asked = append(p.asked, owner.asked)
		}
		for i, a := range s.exclude {
			if row.Flag(a) == openimages.Unknown {
				s.unknown[i]++
			}
		}
	})
}

// choosePhotos is the pass over the images.
func (s *scan) choosePhotos(ctx context.Context) error {
	choices := make([]choice, len(s.labels.asked))
	for _, file := range s.imageFiles {
		err := s.read(ctx, file.path, func(r io.Reader, check func() error) error {
			for row, err := range openimages.Images(r, file.path) {
				if err == nil {
					err = check()
				}
				if err == nil {
					err = s.offer(row, file, choices)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// offer lets the labels that ask for a photo choose it.
func (s *scan) offer(row *openimages.ImageRow, file source, choices []choice) error {
	subset := file.subset
	if name := row.Subset(); len(name) > 0 {
		if subset = slices.Index(s.subsets, string(name)); subset < 0 {
			return nil
		}
	}
	s.imagesRead++
	p := s.photos[openimages.ImageID(row.ImageID())]
	if p == nil {
		return nil
	}
	if p.listed {
		return row.Fault("ImageID", "the photo %s is listed a second time", row.ImageID())
	}
	p.listed, p.subset = true, subset
	s.photosWithLabel++
	id := openimages.ImageID(row.ImageID())
	for _, label := range p.asked {
		if out := choices[label].offer(id, p, s.limit); out != nil {
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
	image, err := row.Image()
	if err != nil {
		return err
	}
	image.Subset = s.subsets[subset]
	p.image = &image
	return nil
}

// collectBoxes is the second pass over the boxes.
func (s *scan) collectBoxes(ctx context.Context) error {
	err := s.eachBox(ctx, func(row *openimages.BoxRow) {
		owner, ok := s.labels.owners[openimages.LabelID(row.LabelID())]
		if !ok || s.checkBox(row) < s.ruleUnlisted() {
			return
		}
		p := s.photos[openimages.ImageID(row.ImageID())]
		switch {
		case !p.listed:
			s.drop(p, s.ruleUnlisted())
		case !slices.Contains(p.chosen, owner.asked):
			s.drop(p, s.ruleLimit())
		default:
			p.reached = len(s.rules)
			s.boxes = append(s.boxes, s.selected(row, p, owner))
		}
	})
	if err != nil {
		return err
	}
	s.sortBoxes()
	for i := range s.boxes {
		owner := s.labels.owners[s.boxes[i].LabelID]
		for _, other := range owner.other {
			s.moved[[2]int{other, owner.asked}]++
		}
	}
	return nil
}

func (s *scan) selected(row *openimages.BoxRow, p *photo, owner owner) openimages.SelectedBox {
	b := openimages.SelectedBox{
		Box:    row.Box(),
		Subset: s.subsets[p.subset],
		Label:  s.labels.asked[owner.asked].as,
	}
	b.ID = openimages.BoxID(b.Digest())
	b.LabelName = s.classes.Name(b.LabelID)
	return b
}

// sortBoxes brings the boxes into the order of the output, drops duplicates, and cuts
// the ids, which until then are whole digests.
func (s *scan) sortBoxes() {
	slices.SortFunc(s.boxes, func(a, b openimages.SelectedBox) int {
		return cmp.Or(
			cmp.Compare(slices.Index(s.subsets, a.Subset), slices.Index(s.subsets, b.Subset)),
			cmp.Compare(a.ImageID, b.ImageID),
			cmp.Compare(a.ID, b.ID),
			// Of rows that differ only in the following one must stay, always the same.
			cmp.Compare(a.Source, b.Source),
			cmp.Compare(a.Confidence, b.Confidence),
			slices.Compare(a.Flags[:], b.Flags[:]),
		)
	})
	all := len(s.boxes)
	s.boxes = slices.CompactFunc(s.boxes, sameBox)
	s.dropped[s.ruleDuplicate()] = int64(all - len(s.boxes))
	digits := make([]int, len(s.boxes))
	for i := range s.boxes {
		digits[i] = max(digits[i], openimages.BoxIDDigits)
		if i > 0 && s.boxes[i-1].ImageID == s.boxes[i].ImageID {
			apart := commonPrefix(s.boxes[i-1].ID, s.boxes[i].ID) + 1
			digits[i-1], digits[i] = max(digits[i-1], apart), max(digits[i], apart)
		}
	}
	for i := range s.boxes {
		s.boxes[i].ID = s.boxes[i].ID[:digits[i]]
	}
}

// sameBox reports whether two boxes are one: the same label at the same place of the
// same photo. While sortBoxes works, the id is the digest of label and place.
func sameBox(a, b openimages.SelectedBox) bool { return a.ImageID == b.ImageID && a.ID == b.ID }

func commonPrefix(a, b openimages.BoxID) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// eachBox passes over all box files.
func (s *scan) eachBox(ctx context.Context, each func(*openimages.BoxRow)) error {
	for _, file := range s.boxFiles {
		err := s.read(ctx, file.path, func(r io.Reader, check func() error) error {
			for row, err := range openimages.Boxes(r, file.path) {
				if err == nil {
					err = check()
				}
				if err != nil {
					return err
				}
				each(row)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rowsPerCheck is how many rows pass between two looks at the context: some
// milliseconds of work.
const rowsPerCheck = 1 << 14

// read opens a metadata file and gives it to scan, together with a function to call
// for every row, which ends the scan when the context does and tells how far it is.
func (s *scan) read(ctx context.Context, path string, scan func(r io.Reader, check func() error) error) (err error) {
	file, err := s.metadata.Open(ctx, path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	rows := 0
	return scan(&counter{file, &s.done}, func() error {
		if rows++; rows%rowsPerCheck != 0 {
			return nil
		}
		s.task.Progress(s.done, s.all, "bytes")
		return context.Cause(ctx)
	})
}

// counter counts what is read through it.
type counter struct {
	io.Reader
	n *int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}
