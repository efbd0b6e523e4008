package cas

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// Changes says how one tree differs from another.
type Changes struct {
	Added, Removed, Changed int      // files
	First                   []Change // the first of them, by path
}

// Change is one file that differs.
type Change struct {
	Path     string
	Old, New Digest // zero where there is no such file
}

// String tells the counts and the first files in one line.
func (c Changes) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
		is   func(Change) bool
	}{
		{c.Changed, "changed", func(f Change) bool { return !f.Old.IsZero() && !f.New.IsZero() }},
		{c.Added, "added", func(f Change) bool { return f.Old.IsZero() }},
		{c.Removed, "removed", func(f Change) bool { return f.New.IsZero() }},
	} {
		if p.n == 0 {
			continue
		}
		var names []string
		for _, f := range c.First {
			if p.is(f) {
				names = append(names, f.Path)
			}
		}
		part := fmt.Sprintf("%d %s", p.n, p.word)
		if len(names) > 0 && len(names) < p.n {
			names = append(names, "…")
		}
		if len(names) > 0 {
			part += " (" + strings.Join(names, ", ") + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "no file differs"
	}
	return strings.Join(parts, ", ")
}

// Diff compares two trees file by file and names the first few that differ. Directories
// that are equal are not read.
func Diff(ctx context.Context, old, now Tree, few int) (Changes, error) {
	d := differ{few: few, old: old.store, now: now.store}
	err := d.directories(ctx, "", old.id.root, now.id.root)
	return d.changes, err
}

type differ struct {
	few      int
	old, now Store
	changes  Changes
}

// directories compares two directories, of which one may be zero: there is none.
func (d *differ) directories(ctx context.Context, at string, old, now Digest) error {
	if old == now {
		return nil
	}
	was, err := readOptional(ctx, d.old, old)
	if err != nil {
		return err
	}
	is, err := readOptional(ctx, d.now, now)
	if err != nil {
		return err
	}
	wasNames, err := sides(was)
	if err != nil {
		return err
	}
	isNames, err := sides(is)
	if err != nil {
		return err
	}
	names := maps.Clone(wasNames)
	maps.Copy(names, isNames)
	for _, name := range sortedKeys(names) {
		was, is := wasNames[name], isNames[name]
		// A name may be a file on one side and a directory on the other.
		d.file(path.Join(at, name), was.file, is.file)
		if err := d.directories(ctx, path.Join(at, name), was.dir, is.dir); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) file(name string, old, now Digest) {
	switch {
	case old == now:
		return
	case old.IsZero():
		d.changes.Added++
	case now.IsZero():
		d.changes.Removed++
	default:
		d.changes.Changed++
	}
	if len(d.changes.First) < d.few {
		d.changes.First = append(d.changes.First, Change{Path: name, Old: old, New: now})
	}
}

func readOptional(ctx context.Context, s Store, id Digest) (*repb.Directory, error) {
	if id.IsZero() {
		return new(repb.Directory), nil
	}
	return readDirectory(ctx, s, id)
}

// side is what one of two directories has under a name.
type side struct{ file, dir Digest }

func sides(d *repb.Directory) (map[string]side, error) {
	all := make(map[string]side, len(d.GetFiles())+len(d.GetDirectories()))
	for e := range entries(d) {
		digest, err := fromProto(e.digest)
		if err != nil {
			return nil, err
		}
		if e.isDir {
			all[e.name] = side{dir: digest}
		} else {
			all[e.name] = side{file: digest}
		}
	}
	return all, nil
}
