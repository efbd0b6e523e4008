// Package archives is what the kinds of stages have in common that unpack archives which others made: wheels,
// and packages of conda's. Their names and bytes decide what comes of them; where the bytes are fetched from does
// not, and what the store has is not fetched.
package archives

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Archive is an archive to unpack.
type Archive struct {
	File   string // the name of its file
	URL    string // where it is fetched from
	Digest cas.Digest
}

// Fetcher brings archives into the store.
type Fetcher interface {
	// FetchBlob downloads url. When it returns nil, the store that the build uses has
	// the blob want; other content is an error.
	FetchBlob(ctx context.Context, url string, want cas.Digest) error
}

// Set is some archives by file, each of which has a name of its own, and how to get them.
type Set struct {
	All     []Archive // sorted by file
	fetcher Fetcher
	scratch string // folder for temporary files; empty for the system's
}

// New returns the set of some archives.
func New(all []Archive, f Fetcher, scratch string) Set {
	all = slices.SortedFunc(slices.Values(all), func(a, b Archive) int { return strings.Compare(a.File, b.File) })
	return Set{All: all, fetcher: f, scratch: scratch}
}

// Params returns the archives as parameters of a stage: digests by file.
func (s Set) Params() map[string]string {
	files := make(map[string]string, len(s.All))
	for _, a := range s.All {
		files[a.File] = a.Digest.String()
	}
	return files
}

// Reads returns what the parameters name, which may be in the store.
func (s Set) Reads() []cas.Digest {
	var all []cas.Digest
	for _, a := range s.All {
		all = append(all, a.Digest)
	}
	return all
}

// parallel is how many archives are fetched at once, as pip's and conda's peers do it.
const parallel = 8

// Fetch fetches what the store lacks, and adds all archives to a folder of the output.
func (s Set) Fetch(ctx context.Context, t *stages.Task, folder string) error {
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, a := range s.All {
		group.Go(func() error { return s.fetcher.FetchBlob(fetching, a.URL, a.Digest) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, a := range s.All {
		if err := t.Out().Add(path.Join(folder, a.File), a.Digest); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a blob so that it can be read anywhere: its bytes are checked by who copies them.
func (s Set) Open(ctx context.Context, store cas.Store, d cas.Digest) (_ *os.File, err error) {
	in, err := store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	file, err := os.CreateTemp(s.scratch, "archive-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := io.Copy(file, in); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
