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
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/archives"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Kind is the stage. It has no inputs.
type Kind struct {
	site   string // the folder of modules, in that of a virtual environment
	wheels archives.Set
	bounds wheel.Bounds
}

// New returns the stage that unpacks wheels, whose modules belong in the folder site.
func New(site string, wheels archives.Set) Kind {
	return Kind{site: site, wheels: wheels, bounds: wheel.Usual}
}

// Name returns "wheels".
func (Kind) Name() string { return "wheels" }

// Version returns the behaviour version.
func (Kind) Version() int { return 1 }

// Params returns the folder for modules, and the wheels by file and digest.
func (k Kind) Params() any {
	return map[string]any{"site": k.site, "wheels": k.wheels.Params()}
}

// Reads returns what the parameters name, which may be in the store.
func (k Kind) Reads() []cas.Digest { return k.wheels.Reads() }

// Run fetches what the store lacks, and unpacks.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	if err := k.wheels.Fetch(ctx, t, wheel.Archives); err != nil {
		return err
	}
	u := &unpacking{kind: k, task: t, files: make(map[string]owned)}
	for i, w := range k.wheels.All {
		t.Progress(int64(i), int64(len(k.wheels.All)), "wheels")
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
	t.Count("wheels", int64(len(k.wheels.All)))
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
func (u *unpacking) wheel(ctx context.Context, from archives.Archive) (err error) {
	file, err := u.kind.wheels.Open(ctx, u.task.Store(), from.Digest)
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
