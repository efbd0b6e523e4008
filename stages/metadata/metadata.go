// Package metadata is the kind of stage that brings the pinned metadata files of a
// data set into a build, as the tree that the stage "select" reads:
//
//	classes.csv
//	hierarchy.json          if there is one
//	boxes/<subset>.csv
//	images/<subset>.csv
//
// The bytes are upstream's. Only the paths and digests of the files decide the output;
// where they are fetched from does not.
package metadata

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// File is a pinned metadata file.
type File struct {
	Path   string     // in the output; package openimages has the names
	URL    string     // where to fetch it when the store does not have it
	Digest cas.Digest // of its bytes
}

// Fetcher brings a blob into the store.
type Fetcher interface {
	// FetchBlob downloads url. When it returns nil, the store that the build uses has
	// the blob want; other content is an error.
	FetchBlob(ctx context.Context, url string, want cas.Digest) error
}

// Kind is the stage. It has no inputs.
type Kind struct {
	Files   []File
	Fetcher Fetcher // how to get what the store does not have
}

// Name returns "metadata".
func (Kind) Name() string { return "metadata" }

// Version returns the behaviour version.
func (Kind) Version() int { return 1 }

// Params returns the path and the digest of every file, sorted by path.
func (k Kind) Params() any {
	type param struct {
		Path   string `json:"path"`
		Digest string `json:"digest"`
		Size   int64  `json:"size"`
	}
	files := make([]param, 0, len(k.Files))
	for _, f := range k.Files {
		files = append(files, param{Path: f.Path, Digest: f.Digest.String(), Size: f.Digest.Size()})
	}
	slices.SortFunc(files, func(a, b param) int { return cmp.Compare(a.Path, b.Path) })
	return struct {
		Files []param `json:"files"`
	}{files}
}

// Run puts every file into the output, fetching first what the store does not have.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	if err := k.fetch(ctx, t); err != nil {
		return err
	}
	for _, f := range k.Files {
		if err := t.Out().Add(f.Path, f.Digest); err != nil {
			return fmt.Errorf("metadata %s: %w", f.Path, err)
		}
	}
	return nil
}

// fetchers bounds the files that are fetched at once. There are few files and each is
// large: more connections would only share the same line.
const fetchers = 3

func (k Kind) fetch(ctx context.Context, t *stages.Task) error {
	var wanted []cas.Digest
	for _, f := range k.Files {
		wanted = append(wanted, f.Digest)
	}
	missing, err := t.Store().Missing(ctx, wanted)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for _, f := range k.Files {
		// Two subsets may be one file; it is fetched once.
		if !slices.Contains(missing, f.Digest) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(d cas.Digest) bool { return d == f.Digest })
		group.Go(func() error {
			if err := k.Fetcher.FetchBlob(ctx, f.URL, f.Digest); err != nil {
				return fmt.Errorf("metadata %s: %w", f.Path, err)
			}
			return nil
		})
	}
	return group.Wait()
}
