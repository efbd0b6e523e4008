package pipeline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/download"
)

// elsewhere brings photos into the store from their URL, or, when it fails, from where
// they came to before: a package that is installed on this machine, or the latest revision
// of the manifest's package. So a cache that was damaged after a link has died heals. It
// is the same photo whoever had it: its digest says so.
type elsewhere struct {
	download.Fetcher
	session *session

	once   sync.Once          // makes what follows, when a photo is missed for the first time
	bySize map[int64][]string // files of installed packages
	reg    *registry.Registry // nil when it cannot be had
	pkg    *registry.Package
	byHash map[quilt.Hash]string // keys of pkg
}

// FetchBlob implements download.Fetcher. The error is that of the URL: what it says can be
// acted on.
func (e *elsewhere) FetchBlob(ctx context.Context, url string, d cas.Digest) error {
	err := e.Fetcher.FetchBlob(ctx, url, d)
	if _, ok := errors.AsType[*fetch.Error](err); !ok || ctx.Err() != nil {
		return err
	}
	e.once.Do(func() { e.look(ctx) })
	for _, name := range e.bySize[d.Size()] {
		if f, openErr := os.Open(name); openErr == nil && e.take(ctx, f, d) {
			return nil
		}
	}
	hash, ok := quilt.ChunkedFromSHA256(d.SHA256(), d.Size())
	if key, known := e.byHash[hash]; ok && known {
		if body, openErr := e.reg.OpenFile(ctx, e.pkg, key); openErr == nil && e.take(ctx, body, d) {
			return nil
		}
	}
	return err
}

// take stores a file if it is the blob.
func (e *elsewhere) take(ctx context.Context, body io.ReadCloser, d cas.Digest) bool {
	body = cas.Verify(body, d, nil)
	got, err := e.session.options.Store.Put(ctx, struct{ io.Reader }{body})
	return errors.Join(err, body.Close()) == nil && got == d
}

// look finds out what there is elsewhere. What cannot be read is not there.
func (e *elsewhere) look(ctx context.Context) {
	e.bySize, e.byHash = map[int64][]string{}, map[quilt.Hash]string{}
	for root, err := range e.session.options.Store.Roots(ctx) {
		if err != nil || root.Package == "" {
			continue
		}
		_ = filepath.WalkDir(root.Path, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil
			}
			if info, err := entry.Info(); err == nil {
				e.bySize[info.Size()] = append(e.bySize[info.Size()], name)
			}
			return ctx.Err()
		})
	}
	reg, err := registry.Open(ctx, e.session.Manifest.Registry, registry.Options{Base: e.session.Dir})
	if err != nil {
		return
	}
	pkg, err := reg.Load(ctx, registry.Ref{Name: e.session.Manifest.Name})
	if err != nil {
		return
	}
	e.reg, e.pkg = reg, pkg
	for _, entry := range pkg.Content.Entries {
		e.byHash[entry.Hash()] = entry.Key
	}
}
