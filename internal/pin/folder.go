package pin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/dataset"
	"github.com/sandwich-build/sandwich/internal/dirindex"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// folder pins the listing of a folder. That of a folder on this machine has the digest of
// each file, so that it is another one when any of them is. That of a bucket has digests
// only where the files are read anyway, since they are text; photos are pinned one by one.
func (r *Resolver) folder(ctx context.Context, f manifest.SourceFile, old lock.Source, pinned bool) (lock.Source, error) {
	local := fetch.IsLocal(f.Folder())
	if pinned && !local {
		want, err := storeDigest(old.Digest, old.Size)
		if err != nil {
			return lock.Source{}, err
		}
		if missing, err := r.Store.Missing(ctx, []cas.Digest{want}); err != nil || len(missing) == 0 {
			return old, err
		}
	}
	list := r.bucketFolder
	if local {
		list = r.localFolder
	}
	entries, err := list(ctx, f)
	if err != nil {
		return lock.Source{}, err
	}
	if len(entries) == 0 {
		err := fmt.Errorf("there is nothing in this folder that ends in %s", cmp.Or(f.Suffix, ".jpg, .png or what else photos end in"))
		if pinned {
			return lock.Source{}, &fetch.Error{URL: f.Folder(), Err: err}
		}
		return lock.Source{}, fmt.Errorf("%s: %w", f.Folder(), err)
	}
	slices.SortFunc(entries, func(a, b dataset.Entry) int { return strings.Compare(a.Path, b.Path) })
	d, err := r.putListing(ctx, entries)
	if err != nil {
		return lock.Source{}, err
	}
	if pinned && lockDigest(d) != old.Digest {
		return lock.Source{}, &fetch.Error{URL: f.Folder(), Err: errOtherFiles}
	}
	return lock.Source{URL: f.URL, Digest: lockDigest(d), Size: d.Size()}, nil
}

var errOtherFiles = errors.New("the files are not those that were locked, and their list is not in the cache any more")

func (r *Resolver) putListing(ctx context.Context, entries []dataset.Entry) (cas.Digest, error) {
	text, in := io.Pipe()
	go func() { _ = in.CloseWithError(dataset.WriteListing(in, slices.Values(entries))) }() // never fails
	d, err := r.Store.Put(ctx, text)
	_ = text.CloseWithError(cmp.Or(err, io.ErrClosedPipe)) // lets the writer go; never fails
	return d, err
}

// localFolder lists a folder of this machine, and reads what has changed since the last time.
func (r *Resolver) localFolder(ctx context.Context, f manifest.SourceFile) ([]dataset.Entry, error) {
	folder, err := r.Client.LocalPath(f.Folder())
	if err != nil {
		return nil, err
	}
	index, err := dirindex.Open(r.indexOf(folder, f.Suffix), folder)
	if err != nil {
		return nil, err
	}
	dirs, err := index.ScanAll(ctx, func(name string, dir bool) bool {
		if dir {
			return !strings.HasPrefix(path.Base(name), ".")
		}
		return dataset.Listed(name, f.Suffix)
	}, sumOf)
	if errors.Is(err, fs.ErrNotExist) {
		err = &fetch.Error{URL: f.Folder(), Err: err}
	}
	if err != nil {
		return nil, err
	}
	var entries []dataset.Entry
	for i, d := range dirs {
		if odd := slices.IndexFunc(d.Other, func(name string) bool { return !strings.HasPrefix(name, ".") }); odd >= 0 {
			return nil, fmt.Errorf("%s: want files and folders; links are not followed", f.Folder()+path.Join(d.Path, d.Other[odd]))
		}
		for _, file := range d.Files {
			entries = append(entries, dataset.Entry{
				Path: path.Join(d.Path, file.Name), Size: file.Stamp.Size, SHA256: hex.EncodeToString(file.Sum[:]),
			})
		}
		index.Keep(&dirs[i], nil)
	}
	return entries, index.Save("")
}

// indexOf is the file in which a folder is remembered, or "".
func (r *Resolver) indexOf(folder, suffix string) string {
	if r.Index == nil {
		return ""
	}
	return r.Index(folder + "\x00" + suffix)
}

func sumOf(ctx context.Context, f *os.File) (dirindex.Sum, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, f)
	return dirindex.Sum(h.Sum(nil)), n, cmp.Or(err, context.Cause(ctx))
}

// bucketFolder lists the files below a prefix of a bucket.
func (r *Resolver) bucketFolder(ctx context.Context, f manifest.SourceFile) ([]dataset.Entry, error) {
	var (
		mu      sync.Mutex // guards entries
		entries []dataset.Entry
	)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(r.Client.Parallel())
	for o, err := range r.Client.List(ctx, f.Folder()) {
		if err != nil {
			return nil, errors.Join(err, group.Wait())
		}
		if !dataset.Listed(o.Key, f.Suffix) {
			continue
		}
		e := dataset.Entry{Path: o.Key, Size: o.Size}
		group.Go(func() error {
			if f.Suffix != "" {
				d, err := r.Fetch(groupCtx, FileURL(f.Folder(), o.Key), fetch.Want{Size: o.Size})
				if err != nil {
					return err
				}
				e.SHA256 = d.Hex()
			}
			mu.Lock()
			defer mu.Unlock()
			entries = append(entries, e)
			return nil
		})
	}
	return entries, group.Wait()
}

// FileURL returns the URL or path of a file in a folder, which ends in a slash.
func FileURL(folder, below string) string {
	if fetch.IsLocal(folder) {
		return folder + below
	}
	return folder + (&url.URL{Path: below}).EscapedPath()
}

// FetchSource makes sure that the store has what a pin of Sources is of.
func (r *Resolver) FetchSource(ctx context.Context, f manifest.SourceFile, pin lock.Source) error {
	want, err := storeDigest(pin.Digest, pin.Size)
	if err != nil {
		return err
	}
	if f.Folder() == "" {
		return r.FetchBlob(ctx, f.URL, want)
	}
	if missing, err := r.Store.Missing(ctx, []cas.Digest{want}); err != nil || len(missing) == 0 {
		return err
	}
	_, err = r.folder(ctx, f, pin, true)
	return err
}

// OpenFile opens a file of a pinned folder, whose digest the listing has.
func (r *Resolver) OpenFile(ctx context.Context, folder string, e dataset.Entry) (io.ReadCloser, error) {
	d, err := cas.NewDigest(e.SHA256, e.Size)
	if err == nil {
		err = r.FetchBlob(ctx, FileURL(folder, e.Path), d)
	}
	if err != nil {
		return nil, err
	}
	return r.Store.Open(ctx, d)
}
