package selection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Kind is the stage.
type Kind struct {
	Labels  []manifest.Label
	Subsets []string // of train, validation, test, in the manifest's order
	Exclude []string // names of attributes that a box must not have
	Licence []string // names or URLs of the licences that a photo may have; none means any
	Limit   int      // photos per label; 0 means all

	Scratch string // a folder for what does not fit into memory; empty is the system's
	held    int    // in place of sortMemory, unless 0
}

// Name returns "select".
func (Kind) Name() string { return "select" }

// Version returns the behaviour version. Since 3, images.csv has SHA256.
func (Kind) Version() int { return 3 }

// params decide the output.
type params struct {
	Labels  []label  `json:"labels"`
	Subsets []string `json:"subsets"`
	Exclude []string `json:"exclude"`
	Limit   int      `json:"limit"`
	Licence []string `json:"licence,omitempty"`
}

type label struct {
	Name        string   `json:"name"`
	As          string   `json:"as"`
	Descendants bool     `json:"descendants"`
	Except      []string `json:"except"`
}

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte) (Kind, error) {
	p, err := stages.ParseParams[params](text)
	k := Kind{Subsets: p.Subsets, Exclude: p.Exclude, Licence: p.Licence, Limit: p.Limit}
	for _, l := range p.Labels {
		k.Labels = append(k.Labels, manifest.Label(l))
	}
	return k, err
}

// Params returns all fields of the kind.
func (k Kind) Params() any {
	p := params{Subsets: k.Subsets, Exclude: slices.Sorted(slices.Values(k.Exclude)), Limit: k.Limit, Licence: slices.Sorted(slices.Values(k.Licence))}
	for _, l := range k.Labels {
		p.Labels = append(p.Labels, label(l))
	}
	return p
}

// NoBoxesError says that for some classes no box passed the rules.
type NoBoxesError struct {
	Classes []string // sorted
	Funnel  openimages.Funnel
}

// Error names the classes and what the rules dropped.
func (e *NoBoxesError) Error() string {
	var dropped []string
	for _, r := range e.Funnel.Rules {
		if r.DroppedBoxes > 0 {
			dropped = append(dropped, fmt.Sprintf("%s %d", r.Rule, r.DroppedBoxes))
		}
	}
	return fmt.Sprintf("no boxes for %s; boxes dropped of all labels by rule: %s",
		strings.Join(e.Classes, ", "), strings.Join(dropped, ", "))
}

// Run selects. The error is LabelErrors for labels that cannot be resolved, a
// *NoBoxesError, or wraps an *openimages.RowError.
func (k Kind) Run(ctx context.Context, t *stages.Task) (err error) {
	s, err := newScan(ctx, k, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.images.Close(), s.boxes.Close()) }()
	for _, step := range []func(context.Context) error{s.findPhotos, s.readImages, s.readBoxes, s.choose, s.write} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func readLabels(ctx context.Context, metadata cas.Tree, labels []manifest.Label) (_ Resolved, _ *openimages.Classes, err error) {
	classFile, err := metadata.Open(ctx, openimages.ClassesFile)
	if err != nil {
		return Resolved{}, nil, fmt.Errorf("open %s: %w", openimages.ClassesFile, err)
	}
	defer func() { err = errors.Join(err, classFile.Close()) }()
	classes, err := openimages.ReadClasses(classFile, openimages.ClassesFile)
	if err != nil {
		return Resolved{}, nil, err
	}
	hierarchy, err := readHierarchy(ctx, metadata)
	if err != nil {
		return Resolved{}, nil, err
	}
	resolved, err := ResolveLabels(classes, hierarchy, labels)
	return resolved, classes, err
}

// readHierarchy returns nil when there is no hierarchy.
func readHierarchy(ctx context.Context, metadata cas.Tree) (_ *openimages.Hierarchy, err error) {
	if _, err := metadata.Lookup(ctx, openimages.HierarchyFile); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	file, err := metadata.Open(ctx, openimages.HierarchyFile)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", openimages.HierarchyFile, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return openimages.ReadHierarchy(file, openimages.HierarchyFile)
}

// write puts the four files into the output.
func (s *scan) write(ctx context.Context) error {
	if err := writeRows(ctx, s, openimages.SelectedBoxesFile, openimages.WriteSelectedBoxes, s.selectedBoxes(ctx)); err != nil {
		return err
	}
	funnel := s.funnel()
	if missing := s.classesWithoutBoxes(); len(missing) > 0 {
		return &NoBoxesError{Classes: missing, Funnel: funnel}
	}
	s.report(funnel)
	if err := writeRows(ctx, s, openimages.SelectedImagesFile, openimages.WriteSelectedImages, s.selectedImages()); err != nil {
		return err
	}
	out := s.task.Out()
	if err := out.Write(ctx, openimages.LabelsFile, func(w io.Writer) error { return openimages.WriteLabels(w, s.labels.Classes()) }); err != nil {
		return err
	}
	return out.Write(ctx, openimages.FunnelFile, func(w io.Writer) error { return openimages.WriteFunnel(w, funnel) })
}

// writeRows puts a table into the output. An error of the rows is returned as it is.
func writeRows[T any](ctx context.Context, s *scan, name string, write func(io.Writer, iter.Seq[T]) error, rows iter.Seq2[T, error]) error {
	var failed error
	err := s.task.Out().Write(ctx, name, func(w io.Writer) error {
		err := write(w, func(yield func(T) bool) {
			for row, err := range rows {
				if failed = err; err != nil || !yield(row) {
					return
				}
			}
		})
		return cmp.Or(failed, err)
	})
	return cmp.Or(failed, err)
}
