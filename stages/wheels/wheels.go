// Package wheels is the kind of stage that unpacks the wheels that stages of the user's own import.
//
// Its output is
//
//	wheels/<file>.whl   the wheels, which a package carries
//	prefix/             what they come to: the folder of a virtual environment without its interpreter
//	  bin/              scripts, also those that wheels ask for by entry points
//	  lib/python3.12/site-packages/
//	  include/<distribution>/, share/, …
//
// Wheels and the folder for modules decide it, and no program runs for it: not pip, and no interpreter. Where
// the bytes are fetched from does not, and what the store has is not fetched.
package wheels

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Wheel is a wheel to unpack.
type Wheel struct {
	File   string // the name of its file
	URL    string // where it is fetched from
	Digest cas.Digest
}

// Fetcher brings wheels into the store.
type Fetcher interface {
	// FetchBlob downloads url. When it returns nil, the store that the build uses has
	// the blob want; other content is an error.
	FetchBlob(ctx context.Context, url string, want cas.Digest) error
}

// Kind is the stage. It has no inputs.
type Kind struct {
	site    string // the folder of modules, in that of a virtual environment
	wheels  []Wheel
	fetcher Fetcher
	bounds  wheel.Bounds
	scratch string // folder for temporary files; empty for the system's
}

// New returns the stage that unpacks wheels, whose modules belong in the folder site. Each wheel has a
// file name of its own.
func New(site string, all []Wheel, f Fetcher, scratch string) Kind {
	all = slices.SortedFunc(slices.Values(all), func(a, b Wheel) int { return strings.Compare(a.File, b.File) })
	return Kind{site: site, wheels: all, fetcher: f, bounds: wheel.Usual, scratch: scratch}
}

// Name returns "wheels".
func (Kind) Name() string { return "wheels" }

// Version returns the behaviour version.
func (Kind) Version() int { return 1 }

// Params returns the folder for modules, and the wheels by file and digest.
func (k Kind) Params() any {
	files := make(map[string]string, len(k.wheels))
	for _, w := range k.wheels {
		files[w.File] = w.Digest.String()
	}
	return map[string]any{"site": k.site, "wheels": files}
}

// Reads returns what the parameters name, which may be in the store.
func (k Kind) Reads() []cas.Digest {
	var all []cas.Digest
	for _, w := range k.wheels {
		all = append(all, w.Digest)
	}
	return all
}

// parallel is how many wheels are fetched at once, as pip's peers do it.
const parallel = 8

// Run fetches what the store lacks, and unpacks.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, w := range k.wheels {
		group.Go(func() error { return k.fetcher.FetchBlob(fetching, w.URL, w.Digest) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	u := &unpacking{kind: k, task: t, files: make(map[string]owned)}
	for i, w := range k.wheels {
		t.Progress(int64(i), int64(len(k.wheels)), "wheels")
		if err := t.Out().Add(path.Join(wheel.Archives, w.File), w.Digest); err != nil {
			return err
		}
		if err := u.wheel(ctx, w); err != nil {
			return fmt.Errorf("unpack %s: %w", w.File, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.files)) {
		f := u.files[name]
		if err := t.Out().Add(path.Join(wheel.Prefix, name), f.digest); err != nil {
			return fmt.Errorf("unpack %s: %w", f.wheel, err)
		}
	}
	t.Count("wheels", int64(len(k.wheels)))
	t.Count("files", int64(len(u.files)))
	return nil
}

// unpacking is one run.
type unpacking struct {
	kind  Kind
	task  *stages.Task
	files map[string]owned // of the prefix, by path
}

// owned is a file of the prefix, and the wheel that has it.
type owned struct {
	digest cas.Digest
	wheel  string
}

// wheel unpacks one. Where another one has a file of that name, this one's is taken, as the last one
// that pip installs has it.
func (u *unpacking) wheel(ctx context.Context, from Wheel) (err error) {
	file, err := u.open(ctx, from.Digest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w, err := wheel.Open(from.File, file, from.Digest.Size(), u.kind.bounds)
	if err != nil {
		return err
	}
	var record [][]string
	other := make(map[string]int) // files that other wheels have too, by wheel
	put := func(name string, d cas.Digest) {
		if was, ok := u.files[name]; ok && was.digest != d {
			other[was.wheel]++
		}
		u.files[name] = owned{d, from.File}
	}
	for _, f := range w.Files {
		d, err := u.store(ctx, f)
		if err != nil {
			return err
		}
		name := u.place(w, f)
		put(name, d)
		record = append(record, recorded(u.kind.site, name, d))
	}
	record = append(record, []string{w.Record, "", ""})
	text, err := recordText(record)
	if err != nil {
		return err
	}
	d, err := cas.PutBytes(ctx, u.task.Store(), text)
	if err != nil {
		return err
	}
	put(path.Join(u.kind.site, w.Record), d)
	for _, wheel := range slices.Sorted(maps.Keys(other)) {
		u.task.Warnf("%d files of %s are other ones in %s, which are taken", other[wheel], wheel, from.File)
	}
	return nil
}

// place is where a file belongs in the prefix.
func (u *unpacking) place(w *wheel.Wheel, f wheel.File) string {
	switch f.Place {
	case wheel.Site:
		return path.Join(u.kind.site, f.Path)
	case wheel.Scripts:
		return path.Join("bin", f.Path)
	case wheel.Headers:
		return path.Join("include", w.Distribution, f.Path)
	case wheel.Data:
	}
	return f.Path
}

// open opens a blob so that it can be read anywhere: its bytes are checked by who copies them.
func (u *unpacking) open(ctx context.Context, d cas.Digest) (_ *os.File, err error) {
	in, err := u.task.Store().Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	file, err := os.CreateTemp(u.kind.scratch, "wheel-*")
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

// store puts the content of a file into the store.
func (u *unpacking) store(ctx context.Context, f wheel.File) (_ cas.Digest, err error) {
	in, err := f.Open()
	if err != nil {
		return cas.Digest{}, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return u.task.Store().Put(ctx, in)
}

// recorded is a line of the record of what is installed: a path from the folder of modules, a
// digest and a size.
func recorded(site, name string, d cas.Digest) []string {
	rel, ok := strings.CutPrefix(name, site+"/")
	if !ok {
		rel = strings.Repeat("../", strings.Count(site, "/")+1) + name
	}
	sum := d.SHA256()
	return []string{rel, "sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]), strconv.FormatInt(d.Size(), 10)}
}

func recordText(lines [][]string) ([]byte, error) {
	var text strings.Builder
	w := csv.NewWriter(&text)
	err := w.WriteAll(lines)
	return []byte(text.String()), err
}
