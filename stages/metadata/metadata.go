// Package metadata is the kind of stage that brings the pinned metadata files of a
// data set into a build, as the tree that the stage "select" reads:
//
//	classes.csv
//	hierarchy.json                   if there is one
//	images/<subset>.csv
//	boxes/<subset>/<label>.parquet   the index of the box file, see package boxindex
//	labels.json                      what there is of each label
//
// The bytes are upstream's but for the boxes: their file is passed over once, checked, and
// sorted by label, so that no other build has to read it, nor fetch it if it gets this stage's
// result from elsewhere. Only the paths and digests of the files decide the output; where they
// are fetched from does not.
package metadata

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/boxindex"
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
	Fetcher Fetcher // how to get what the store does not have; nil where it has all
	Scratch string  // a folder for what does not fit into memory; empty is the system's
	Ready   Ready   // indexes that were made elsewhere; nil has none
}

// Ready has indexes that need not be made. Whose they are is whom one trusts, as with a shared
// cache: they must be what this kind would make.
type Ready interface {
	// Has tells whether there is the index of the box file with a digest.
	Has(box cas.Digest) bool
	// Index puts the files of that index into the store. It returns their digests by name.
	Index(ctx context.Context, store cas.Store, box cas.Digest) (map[string]cas.Digest, boxindex.Counts, error)
}

// ready reports whether the file is a box file whose index need not be made.
func (k Kind) ready(f File) bool {
	_, boxes := f.boxes()
	return boxes && k.Ready != nil && k.Ready.Has(f.Digest)
}

// Name returns "metadata".
func (Kind) Name() string { return "metadata" }

// Version returns the behaviour version.
func (Kind) Version() int { return 2 }

// Params returns the path and the digest of every file, sorted by path.
func (k Kind) Params() any {
	p := params{Files: make([]fileParam, 0, len(k.Files))}
	for _, f := range k.Files {
		p.Files = append(p.Files, fileParam{Path: f.Path, Digest: f.Digest.String(), Size: f.Digest.Size()})
	}
	slices.SortFunc(p.Files, func(a, b fileParam) int { return cmp.Compare(a.Path, b.Path) })
	return p
}

type params struct {
	Files []fileParam `json:"files"`
}

type fileParam struct {
	Path   string `json:"path"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// ParseParams returns the files that Params told of, without their URLs.
func ParseParams(text []byte) ([]File, error) {
	var p params
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("parameters of metadata: %w", err)
	}
	files := make([]File, len(p.Files))
	for i, f := range p.Files {
		d, err := cas.NewDigest(strings.TrimPrefix(f.Digest, "sha256:"), f.Size)
		if err != nil {
			return nil, fmt.Errorf("parameters of metadata: %s: %w", f.Path, err)
		}
		files[i] = File{Path: f.Path, Digest: d}
	}
	return files, nil
}

// Parse makes the kind of its parameters, as they are in an action, for files that the store has.
func Parse(text []byte) (Kind, error) {
	files, err := ParseParams(text)
	return Kind{Files: files}, err
}

// Reads returns the blobs that the kind reads, which its parameters name: it has no inputs.
func (k Kind) Reads() []cas.Digest {
	var read []cas.Digest
	for _, f := range k.Files {
		if _, ok := f.boxes(); ok {
			read = append(read, f.Digest)
		}
	}
	return read
}

// boxes returns the subset that the file has the boxes of.
func (f File) boxes() (subset string, ok bool) {
	subset, ok = strings.CutSuffix(strings.TrimPrefix(f.Path, "boxes/"), ".csv")
	return subset, ok && f.Path == "boxes/"+subset+".csv"
}

// Run puts every file into the output, or its index, fetching first what the store does not
// have. The error wraps a *openimages.RowError when a box file has a fault.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	if k.Fetcher != nil {
		if err := k.Fetch(ctx, t); err != nil {
			return err
		}
	}
	var all []boxindex.Counts
	built := map[cas.Digest]*index{}
	for _, f := range k.Files {
		subset, boxes := f.boxes()
		if !boxes {
			if err := t.Out().Add(f.Path, f.Digest); err != nil {
				return fmt.Errorf("metadata %s: %w", f.Path, err)
			}
			continue
		}
		// Two subsets may be one file.
		x := built[f.Digest]
		if x == nil {
			x = &index{kind: k, task: t, file: f}
			if err := x.build(ctx); err != nil {
				return err
			}
			built[f.Digest] = x
			t.Count("boxes", x.counts.Boxes)
		}
		for name, d := range x.files {
			if err := t.Out().Add(path.Join(boxindex.Folder(subset), name), d); err != nil {
				return fmt.Errorf("metadata %s: %w", f.Path, err)
			}
		}
		counts := x.counts
		counts.Subset = subset
		all = append(all, counts)
	}
	var text strings.Builder
	if err := boxindex.WriteCounts(&text, all); err != nil {
		return err
	}
	return t.Out().PutBytes(ctx, boxindex.LabelsFile, []byte(text.String()))
}

// index is a box file's at work.
type index struct {
	kind   Kind
	task   *stages.Task
	file   File
	counts boxindex.Counts

	mu    sync.Mutex // guards files
	files map[string]cas.Digest
}

// build makes the index, unless it is ready. A file that turns out to be damaged is fetched once more.
func (x *index) build(ctx context.Context) (err error) {
	if x.kind.ready(x.file) {
		x.files, x.counts, err = x.kind.Ready.Index(ctx, x.task.Store(), x.file.Digest)
		return err
	}
	err = x.pass(ctx)
	if _, damaged := errors.AsType[*cas.BlobError](err); damaged && x.kind.Fetcher != nil && ctx.Err() == nil {
		if err := x.kind.Fetcher.FetchBlob(ctx, x.file.URL, x.file.Digest); err != nil {
			return err
		}
		err = x.pass(ctx)
	}
	return err
}

func (x *index) pass(ctx context.Context) (err error) {
	text, err := x.task.Store().Open(ctx, x.file.Digest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	x.files = map[string]cas.Digest{}
	x.counts, err = boxindex.Build(ctx, boxindex.Source{Text: text, Name: x.file.Path}, boxindex.Options{
		Workers: x.task.Workers(), Folder: x.kind.Scratch,
		Progress: func(rows int64) { x.task.Progress(rows, 0, "boxes") },
	}, func(ctx context.Context, name string, r io.Reader) error {
		d, err := x.task.Store().Put(ctx, r)
		if err != nil {
			return fmt.Errorf("index of %s: %w", x.file.Path, err)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.files[name] = d
		return nil
	})
	return err
}

// fetchers bounds the files that are fetched at once. There are few files and each is
// large: more connections would only share the same line.
const fetchers = 3

// Fetch brings into the store what it does not have of the files. It is all of Run that asks the
// world for anything.
func (k Kind) Fetch(ctx context.Context, t *stages.Task) error {
	var wanted []cas.Digest
	for _, f := range k.Files {
		if !k.ready(f) {
			wanted = append(wanted, f.Digest)
		}
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
