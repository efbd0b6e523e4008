package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/sandwich-build/sandwich/internal/dataset"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
)

// A data set that is not kept as Open Images is becomes files of its form as soon as its own
// files are pinned, and from there on nothing knows the difference. What they become follows
// from the pins, so that it is worked out once and remembered.

// converted are the metadata files that a data set in another form became.
type converted struct {
	again func(context.Context) (cas.Tree, error) // reads the data set once more
	files []metadata.File
}

// pinForm pins the files of a data set in a form of its own, and reads it.
func (s *session) pinForm(ctx context.Context, form dataset.Form, files []manifest.SourceFile) error {
	pins, err := s.resolver.Sources(ctx, files, s.lock.Sources)
	if err != nil {
		return err
	}
	if err := s.lockSources(pins); err != nil {
		return err
	}
	classes, err := s.readForm(ctx, form, files)
	if err != nil {
		return err
	}
	return s.resolveLabels(classes, nil)
}

// formAsLocked reads a data set in a form of its own once more, for a rebuild. If it is not to
// be had any more as it was locked, it is what the package says that it was, and it is the
// stage metadata that cannot run.
func (s *session) formAsLocked(ctx context.Context, form dataset.Form, files []manifest.SourceFile) error {
	classes, err := s.readForm(ctx, form, files)
	if gone, ok := errors.AsType[*fetch.Error](err); ok && ctx.Err() == nil {
		was := s.options.rebuild.Metadata
		s.converted = &converted{again: func(context.Context) (cas.Tree, error) { return cas.Tree{}, gone }, files: was}
		at := slices.IndexFunc(was, func(f metadata.File) bool { return f.Path == openimages.ClassesFile })
		if at < 0 {
			return err
		}
		classes, err = s.classList(ctx, was[at].Digest)
	}
	if err != nil {
		return err
	}
	return s.resolveLabels(classes, nil)
}

func (s *session) classList(ctx context.Context, d cas.Digest) (*openimages.Classes, error) {
	list, err := cas.ReadBlob(ctx, s.store, d)
	if err != nil {
		return nil, err
	}
	return openimages.ReadClasses(bytes.NewReader(list), openimages.ClassesFile)
}

// readForm reads a data set in a form of its own, whose files the session's lock pins, and
// returns its classes.
func (s *session) readForm(ctx context.Context, form dataset.Form, files []manifest.SourceFile) (*openimages.Classes, error) {
	subsets := s.inputs(files)
	s.converted = &converted{again: func(ctx context.Context) (cas.Tree, error) {
		return dataset.Convert(ctx, s.store, form, subsets)
	}}
	tree, err := s.convert(ctx, form, files)
	if err != nil {
		return nil, err
	}
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return nil, err
		}
		s.converted.files = append(s.converted.files, metadata.File{Path: f.Path, Digest: f.Digest})
	}
	list, err := tree.Lookup(ctx, openimages.ClassesFile)
	if err != nil {
		return nil, err
	}
	return s.classList(ctx, list)
}

// convert returns what a data set becomes, if all of it is in the store, and reads it
// otherwise.
func (s *session) convert(ctx context.Context, form dataset.Form, files []manifest.SourceFile) (cas.Tree, error) {
	fact := memo.Fact{"dataset", form.Describe()}
	for _, f := range files {
		pin, _ := s.lock.Source(f.URL)
		fact = append(fact, string(f.Role), f.Subset, f.URL, pin.Digest.String())
	}
	if root, ok := s.memory.Recall(ctx, fact); ok {
		tree := cas.NewTree(s.store, cas.NewTreeID(root))
		if s.has(ctx, tree) {
			return tree, nil
		}
	}
	tree, err := s.converted.again(ctx)
	if err == nil {
		s.memory.Keep(ctx, fact, tree.ID().Digest())
	}
	return tree, err
}

// has reports whether the store has all of a tree. What cannot be read is made again.
func (s *session) has(ctx context.Context, tree cas.Tree) bool {
	var blobs []cas.Digest
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return false
		}
		blobs = append(blobs, f.Digest)
	}
	missing, err := s.store.Missing(ctx, blobs)
	return err == nil && len(missing) == 0
}

// inputs are the pinned files, subset by subset.
func (s *session) inputs(files []manifest.SourceFile) []dataset.Input {
	var subsets []dataset.Input
	for _, f := range files {
		pin, _ := s.lock.Source(f.URL)
		if len(subsets) == 0 || subsets[len(subsets)-1].Subset != f.Subset {
			subsets = append(subsets, dataset.Input{Subset: f.Subset, Files: map[manifest.Role]dataset.File{}})
		}
		file := dataset.File{Name: f.URL, Open: func(ctx context.Context) (io.ReadCloser, error) {
			d, err := blobDigest(pin)
			if err == nil {
				err = s.resolver.FetchSource(ctx, f, pin)
			}
			if err != nil {
				return nil, err
			}
			return s.store.Open(ctx, d)
		}}
		if folder := f.Folder(); folder != "" {
			file.Name = folder
			if f.Suffix != "" {
				file.OpenIn = func(ctx context.Context, e dataset.Entry) (io.ReadCloser, error) {
					return s.resolver.OpenFile(ctx, folder, e)
				}
			}
		}
		subsets[len(subsets)-1].Files[f.Role] = file
	}
	return subsets
}

// sources brings lost metadata files back: from where they were published, or by reading a
// data set in another form once more.
type sources struct{ *session }

// FetchBlob implements metadata.Fetcher.
func (f sources) FetchBlob(ctx context.Context, url string, want cas.Digest) error {
	if f.converted == nil {
		return f.resolver.FetchBlob(ctx, url, want)
	}
	if _, err := f.converted.again(ctx); err != nil {
		return err
	}
	missing, err := f.store.Missing(ctx, []cas.Digest{want})
	if err == nil && len(missing) > 0 {
		err = errors.New("the data set does not become what it became before: this is a fault of sandwich")
	}
	return err
}
