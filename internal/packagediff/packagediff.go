// Package packagediff compares two packages: their files, and what these mean where
// sandwich has made them.
//
// Files are compared by size and hash, so nothing is read for them, unless two revisions
// have different hash types. What a package means is in a few small files of it
// (manifest.yaml, data/labels.json, data/boxes.csv, …); a package of another maker lacks
// them and has no such part in the report.
package packagediff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// The files of a package that tell what it means. Package stages/pack writes them.
const (
	manifestFile    = "manifest.yaml"
	lockFile        = lock.FileName
	labelsFile      = "data/labels.json"
	boxesFile       = "data/boxes.csv"
	deadFile        = "data/dead.csv"
	environmentFile = "environment/environment.json"
	metricsFile     = "report/metrics.json"
	cropsFolder     = "data/crops/"
)

// Side is one of the two.
type Side struct {
	Name    string
	Content *quilt.Package
	Bare    bool // a folder, which has neither message nor metadata
	Open    func(ctx context.Context, key string) (io.ReadCloser, error)
}

// Report is how B differs from A. Its lists are ordered by key, path or label.
type Report struct {
	A           string   `json:"a"`
	B           string   `json:"b"`
	Added       []File   `json:"added"`
	Removed     []File   `json:"removed"`
	Changed     []File   `json:"changed"`
	Equal       int      `json:"equal"` // files with the same bytes
	Message     *Field   `json:"message,omitempty"`
	Metadata    []Field  `json:"metadata"`    // of the package
	Manifest    []Field  `json:"manifest"`    // hyperparameters too
	Code        []Field  `json:"code"`        // the user's own sources: commit, tree, whether it was dirty
	Labels      Names    `json:"labels"`      // classes
	Boxes       []Count  `json:"boxes"`       // of each class
	Crops       Crops    `json:"crops"`       // files
	Dead        Names    `json:"dead"`        // photos that are gone
	Environment []Field  `json:"environment"` // that the package was built in
	Metrics     []Metric `json:"metrics"`
}

// File is a file that differs. Of an added one From is 0, of a removed one To.
type File struct {
	Key  string `json:"key"`
	From int64  `json:"from"` // bytes in A
	To   int64  `json:"to"`   // bytes in B
}

// Field is a value that differs. One that is absent is empty.
type Field struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Names are members of a set.
type Names struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

// Count is how many of something differ.
type Count struct {
	Label   string `json:"label"`
	Added   int    `json:"added"`
	Removed int    `json:"removed"`
	Changed int    `json:"changed"`
}

// Crops is how many crops differ. One that is the same, but in another set (train,
// validation, test), has moved: it is neither added nor removed.
type Crops struct {
	Count
	Moved int `json:"moved"`
}

// Metric is a number that differs.
type Metric struct {
	Name   string   `json:"name"`
	From   *float64 `json:"from,omitempty"` // absent where A does not have it
	To     *float64 `json:"to,omitempty"`
	Change *float64 `json:"change,omitempty"`
}

// Same reports whether both have the same files, message and metadata.
func (r *Report) Same() bool {
	return len(r.Added)+len(r.Removed)+len(r.Changed)+len(r.Metadata) == 0 && r.Message == nil
}

// Compare compares two packages.
func Compare(ctx context.Context, a, b Side) (*Report, error) {
	r := &Report{A: a.Name, B: b.Name}
	c := &comparison{a: a, b: b, report: r}
	for _, step := range []func(context.Context) error{
		c.files, c.header, c.manifest, c.code, c.labels, c.boxes, c.dead, c.environment, c.metrics,
	} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("compare %s with %s: %w", a.Name, b.Name, err)
		}
	}
	r.Added, r.Removed, r.Changed = list(r.Added), list(r.Removed), list(r.Changed)
	r.Metadata, r.Manifest, r.Environment = list(r.Metadata), list(r.Manifest), list(r.Environment)
	r.Code, r.Boxes, r.Metrics = list(r.Code), list(r.Boxes), list(r.Metrics)
	return r, nil
}

// list makes a list that JSON shows as [] when it is empty.
func list[T any](all []T) []T { return append([]T{}, all...) }

type comparison struct {
	a, b   Side
	report *Report
}

// differs reports whether a file is in one of both, or differs: then it is worth reading.
func (c *comparison) differs(key string) bool {
	is := func(f File) bool { return f.Key == key }
	return slices.ContainsFunc(c.report.Added, is) || slices.ContainsFunc(c.report.Removed, is) || slices.ContainsFunc(c.report.Changed, is)
}

func (c *comparison) files(ctx context.Context) error {
	r := c.report
	for _, e := range c.a.Content.Entries {
		if _, ok := c.b.Content.Entry(e.Key); !ok {
			r.Removed = append(r.Removed, File{Key: e.Key, From: size(e)})
		}
	}
	for _, e := range c.b.Content.Entries {
		old, ok := c.a.Content.Entry(e.Key)
		if !ok {
			r.Added = append(r.Added, File{Key: e.Key, To: size(e)})
			continue
		}
		same, err := c.same(ctx, old, e)
		if err != nil {
			return err
		}
		if same {
			r.Equal++
			continue
		}
		r.Changed = append(r.Changed, File{Key: e.Key, From: size(old), To: size(e)})
	}
	return c.crops(ctx)
}

// crops counts the crops among the files that differ.
func (c *comparison) crops(ctx context.Context) error {
	r := c.report
	moved := 0
	gone := map[string]string{} // keys, by what crops are called in whichever set
	for _, f := range r.Removed {
		if name, ok := setless(f.Key); ok {
			gone[name] = f.Key
		}
	}
	for _, f := range r.Added {
		name, _ := setless(f.Key)
		was, ok := gone[name]
		if !ok {
			continue
		}
		old, _ := c.a.Content.Entry(was)
		now, _ := c.b.Content.Entry(f.Key)
		same, err := c.same(ctx, old, now)
		if err != nil {
			return err
		}
		if same {
			moved++
		}
	}
	r.Crops = Crops{Moved: moved, Count: Count{
		Label: "crops", Added: crops(r.Added) - moved, Removed: crops(r.Removed) - moved, Changed: crops(r.Changed),
	}}
	return nil
}

// setless returns what a crop is called in whichever set it is, and false for the key of
// another file.
func setless(key string) (string, bool) {
	below, ok := strings.CutPrefix(key, cropsFolder)
	_, name, inSet := strings.Cut(below, "/")
	return name, ok && inSet
}

func crops(files []File) int {
	n := 0
	for _, f := range files {
		if strings.HasPrefix(f.Key, cropsFolder) {
			n++
		}
	}
	return n
}

// size is 0 where a package does not tell it.
func size(e quilt.Entry) int64 { return max(e.Size(), 0) }

// same reports whether two entries have the same bytes. Hashes of different types say
// nothing about each other; then the file of B is hashed as that of A was.
func (c *comparison) same(ctx context.Context, a, b quilt.Entry) (_ bool, err error) {
	if a.Size() != b.Size() {
		return false, nil
	}
	if a.Hash().Type == b.Hash().Type {
		return a.Hash() == b.Hash(), nil
	}
	hasher, err := quilt.NewHasher(a.Hash().Type, a.Size())
	if err != nil {
		return false, err
	}
	file, err := c.b.Open(ctx, b.Key)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(hasher, file); err != nil {
		return false, err
	}
	return hasher.Hash() == a.Hash(), nil
}

// header compares what the package says of itself.
func (c *comparison) header(context.Context) error {
	if c.a.Bare || c.b.Bare {
		return nil
	}
	if from, to := c.a.Content.Message(), c.b.Content.Message(); from != to {
		c.report.Message = &Field{Path: "message", From: from, To: to}
	}
	var sides [2]map[string]string
	for i, content := range []*quilt.Package{c.a.Content, c.b.Content} {
		if meta := content.Meta(); meta.Kind() != quilt.Absent {
			text, err := meta.AppendJSON(nil)
			if err == nil {
				sides[i], err = flatten(text)
			}
			if err != nil {
				return fmt.Errorf("metadata: %w", err)
			}
		}
	}
	c.report.Metadata = fields(sides[0], sides[1])
	return nil
}

func (c *comparison) manifest(ctx context.Context) (err error) {
	c.report.Manifest, err = c.fields(ctx, manifestFile)
	return err
}

// code compares what the locks say of the user's own sources.
func (c *comparison) code(ctx context.Context) error {
	if !c.differs(lockFile) {
		return nil
	}
	var sides [2]map[string]string
	for i, side := range []Side{c.a, c.b} {
		text, err := side.read(ctx, lockFile)
		if text == nil && err == nil {
			continue
		}
		var l *lock.Lock
		if err == nil {
			l, err = lock.Decode(lockFile, bytes.NewReader(text), int64(len(text)))
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", lockFile, side.Name, err)
		}
		if l.Code != nil {
			sides[i] = map[string]string{"commit": l.Code.Commit, "tree": l.Code.Tree.String(), "dirty": strconv.FormatBool(l.Code.Dirty)}
		}
	}
	c.report.Code = fields(sides[0], sides[1])
	return nil
}

func (c *comparison) environment(ctx context.Context) (err error) {
	c.report.Environment, err = c.fields(ctx, environmentFile)
	return err
}

// fields compares a file of YAML or JSON value by value.
func (c *comparison) fields(ctx context.Context, key string) ([]Field, error) {
	sides, err := c.flat(ctx, key)
	return fields(sides[0], sides[1]), err
}

func (c *comparison) flat(ctx context.Context, key string) (sides [2]map[string]string, _ error) {
	if !c.differs(key) {
		return sides, nil
	}
	for i, side := range []Side{c.a, c.b} {
		text, err := side.read(ctx, key)
		if err == nil && text != nil {
			sides[i], err = flatten(text)
		}
		if err != nil {
			return sides, fmt.Errorf("%s of %s: %w", key, side.Name, err)
		}
	}
	return sides, nil
}

// maxRead bounds the small files that are read.
const maxRead = 64 << 20

// read reads a file; nil when there is none.
func (s Side) read(ctx context.Context, key string) (_ []byte, err error) {
	file, err := s.open(ctx, key)
	if file == nil || err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	text, err := io.ReadAll(io.LimitReader(file, maxRead+1))
	if err == nil && len(text) > maxRead {
		err = fmt.Errorf("more than %d bytes", maxRead)
	}
	return text, err
}

// open opens a file; nil when there is none.
func (s Side) open(ctx context.Context, key string) (io.ReadCloser, error) {
	if _, ok := s.Content.Entry(key); !ok {
		return nil, nil
	}
	file, err := s.Open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing", key)
	}
	return file, err
}

// sets reads a file of both sides, if it differs, as a map with a key for each of its
// members.
func (c *comparison) sets(ctx context.Context, key string, parse func(io.Reader, map[string]string) error) (sides [2]map[string]string, _ error) {
	if !c.differs(key) {
		return sides, nil
	}
	for i, side := range []Side{c.a, c.b} {
		sides[i] = map[string]string{}
		file, err := side.open(ctx, key)
		if file != nil {
			err = errors.Join(parse(file, sides[i]), file.Close())
		}
		if err != nil {
			return sides, fmt.Errorf("%s of %s: %w", key, side.Name, err)
		}
	}
	return sides, nil
}

func (c *comparison) labels(ctx context.Context) error {
	sides, err := c.sets(ctx, labelsFile, func(r io.Reader, set map[string]string) error {
		labels, err := openimages.ReadLabels(r, labelsFile)
		for _, label := range labels {
			set[label] = ""
		}
		return err
	})
	c.report.Labels = Names{Added: list(lacking(sides[1], sides[0])), Removed: list(lacking(sides[0], sides[1]))}
	return err
}

func (c *comparison) dead(ctx context.Context) error {
	sides, err := c.sets(ctx, deadFile, func(r io.Reader, set map[string]string) error {
		for photo, err := range pinfile.DeadPhotos(r, deadFile) {
			if err != nil {
				return err
			}
			set[string(photo.ImageID)] = ""
		}
		return nil
	})
	c.report.Dead = Names{Added: list(lacking(sides[1], sides[0])), Removed: list(lacking(sides[0], sides[1]))}
	return err
}

// boxes counts, for each class, the boxes that only one side has.
func (c *comparison) boxes(ctx context.Context) error {
	sides, err := c.sets(ctx, boxesFile, func(r io.Reader, set map[string]string) error {
		for box, err := range openimages.SelectedBoxes(r, boxesFile) {
			if err != nil {
				return err
			}
			set[fmt.Sprint(box.Subset, " ", box.ImageID, " ", box.ID, " ", box.Label)] = box.Label
		}
		return nil
	})
	counts := map[string]*Count{}
	count := func(label string) *Count {
		if counts[label] == nil {
			counts[label] = &Count{Label: label}
		}
		return counts[label]
	}
	for _, key := range lacking(sides[1], sides[0]) {
		count(sides[1][key]).Added++
	}
	for _, key := range lacking(sides[0], sides[1]) {
		count(sides[0][key]).Removed++
	}
	for _, label := range sortedKeys(counts) {
		c.report.Boxes = append(c.report.Boxes, *counts[label])
	}
	return err
}
