package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// Report is how files differ from a package. Its lists hold logical keys in the order of
// packages.
type Report struct {
	Missing []string
	Changed []string // other bytes, or no regular file
	Extra   []string // not of the package
}

// OK reports whether all files of the package are there and right and, unless extraOK,
// nothing else is.
func (r Report) OK(extraOK bool) bool {
	return len(r.Missing) == 0 && len(r.Changed) == 0 && (extraOK || len(r.Extra) == 0)
}

// Verify compares the files of a folder with a package, byte by byte. The error is about
// the reading; what differs is in the report. The part folder of an install that was cut
// off is reported as extra. tell, which may be nil, is told what is read.
func Verify(ctx context.Context, p *quilt.Package, path string, tell func(transfer.State)) (Report, error) {
	report, err := verify(ctx, p, path, tell)
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", path, err)
	}
	return report, nil
}

func verify(ctx context.Context, p *quilt.Package, path string, tell func(transfer.State)) (_ Report, err error) {
	if err := checkEntries(p.Entries); err != nil {
		return Report{}, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	found, err := scan(ctx, root, quilt.Ignore{})
	if err != nil {
		return Report{}, err
	}
	right, err := matching(ctx, root, p.Entries, found.files, transfer.Fixed(atOnce), tell)
	if err != nil {
		return Report{}, err
	}
	present := slices.Clone(found.irregular)
	for _, f := range found.files {
		present = append(present, f.key)
	}
	if _, err := root.Lstat(partName); err == nil {
		present = append(present, partName)
	}
	return compare(p.Entries, present, right), nil
}

// compare reports on entries of which some are right, and of the others those in present
// are there in whatever state.
func compare(entries []quilt.Entry, present []string, right []bool) Report {
	slices.SortFunc(present, quilt.CompareKeys)
	var report Report
	for i, j := 0, 0; i < len(entries) || j < len(present); {
		order := -1
		switch {
		case i == len(entries):
			order = 1
		case j < len(present):
			order = quilt.CompareKeys(entries[i].Key, present[j])
		}
		switch {
		case order < 0:
			report.Missing = append(report.Missing, entries[i].Key)
			i++
		case order > 0:
			report.Extra = append(report.Extra, present[j])
			j++
		default:
			if !right[i] {
				report.Changed = append(report.Changed, entries[i].Key)
			}
			i, j = i+1, j+1
		}
	}
	return report
}

// checkEntries returns an error unless every entry can become a file of a folder and be
// verified.
func checkEntries(entries []quilt.Entry) error {
	known := "" // the hash type of the entry before, which most have
	for _, e := range entries {
		if err := checkLocal(e.Key); err != nil {
			return err
		}
		kind := e.Hash().Type
		if kind == known {
			continue
		}
		if _, err := quilt.NewHasher(kind, e.Size()); err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
		known = kind
	}
	return nil
}

// checkLocal returns a *quilt.KeyError unless key can become a file here.
func checkLocal(key string) error {
	if err := quilt.CheckFileKey(key); err != nil {
		return err
	}
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return &quilt.KeyError{Key: key, Reason: "leads out of the folder on this system"}
	}
	if first, _, _ := strings.Cut(key, "/"); first == partName {
		return &quilt.KeyError{Key: key, Reason: "is reserved for unfinished installs"}
	}
	return nil
}
