package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/quilt"
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

func (r Report) sort() {
	slices.SortFunc(r.Missing, quilt.CompareKeys)
	slices.SortFunc(r.Changed, quilt.CompareKeys)
	slices.SortFunc(r.Extra, quilt.CompareKeys)
}

// VerifyFolder compares the files of a folder with a package, byte by byte. The error is
// about the reading; what differs is in the report. The part folder of an install that
// was cut off is reported as extra.
func VerifyFolder(ctx context.Context, p *Package, folder string) (Report, error) {
	report, err := verifyFolder(ctx, p, folder)
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", folder, err)
	}
	return report, nil
}

func verifyFolder(ctx context.Context, p *Package, folder string) (_ Report, err error) {
	if err := checkEntries(p.Content.Entries); err != nil {
		return Report{}, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	found, err := scan(ctx, root)
	if err != nil {
		return Report{}, err
	}
	right, err := matching(ctx, p.Content.Entries, found.files, folderWorkers)
	if err != nil {
		return Report{}, err
	}
	present := slices.AppendSeq(found.irregular, maps.Keys(found.files))
	if _, err := root.Lstat(partName); err == nil {
		present = append(present, partName)
	}
	return compare(p.Content, present, right), nil
}

// compare reports on a package of which the keys in right are as they should be, and the
// keys in present are there in whatever state.
func compare(content *quilt.Package, present []string, right map[string]bool) Report {
	var report Report
	there := make(map[string]bool, len(present))
	for _, key := range present {
		there[key] = true
		if _, ok := content.Entry(key); !ok {
			report.Extra = append(report.Extra, key)
		}
	}
	for _, e := range content.Entries {
		switch {
		case right[e.Key]:
		case there[e.Key]:
			report.Changed = append(report.Changed, e.Key)
		default:
			report.Missing = append(report.Missing, e.Key)
		}
	}
	report.sort()
	return report
}

// VerifyObjects reads all bytes of a package from the registry and compares. The error
// is about the reading; what is missing or damaged is in the report.
func (r *Registry) VerifyObjects(ctx context.Context, p *Package, report func(done, total int64)) (Report, error) {
	var mu sync.Mutex // guards result
	var result Report
	count := &progress{report: report, total: p.Content.Size()}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(r.workers)
	for _, e := range p.Content.Entries {
		group.Go(func() error {
			body, err := r.openEntry(groupCtx, e)
			missing := err != nil
			if err == nil {
				_, err = io.Copy(io.Discard, count.reader(body))
				err = errors.Join(err, body.Close())
			}
			var damage *DamageError
			switch {
			case err == nil:
				return nil
			case !errors.As(err, &damage):
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if missing {
				result.Missing = append(result.Missing, e.Key)
			} else {
				result.Changed = append(result.Changed, e.Key)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", p.Ref(), err)
	}
	result.sort()
	return result, nil
}

// checkEntries returns an error unless every entry can become a file of a folder and be
// verified.
func checkEntries(entries []quilt.Entry) error {
	for _, e := range entries {
		if err := checkLocal(e.Key); err != nil {
			return err
		}
		if _, err := quilt.NewHasher(e.Hash().Type, e.Size()); err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
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
