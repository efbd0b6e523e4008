package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// InstallOptions say how to install. The zero InstallOptions are fine.
type InstallOptions struct {
	Workers  int                  // files at once; 0 for as many as prove good
	Checking func(transfer.State) // is told what is read of files that may be right already, before the install
	Progress func(transfer.State) // is told what is there
	// Nearby opens a file of this machine that may have the bytes of an entry, which need
	// not be right; fs.ErrNotExist when there is none.
	Nearby func(ctx context.Context, e quilt.Entry) (io.ReadCloser, error)
}

// Install makes dest a folder with exactly the files of p, as folder.Install does. Files of
// other revisions of the package in this registry may be replaced.
func (r *Registry) Install(ctx context.Context, p *Package, dest string, opts InstallOptions) (folder.Installed, error) {
	done, err := folder.Install(ctx, p.Content, r.objects, dest, folder.Options{
		Pace: r.paceOf(opts.Workers), Checking: opts.Checking, Progress: opts.Progress, Nearby: opts.Nearby, Older: r.older(ctx, p),
	})
	if err != nil {
		return folder.Installed{}, fmt.Errorf("install %s in %s: %w", p.Ref(), dest, err)
	}
	return done, nil
}

// older yields the revisions of a package that can be read, those of a part as that part.
func (r *Registry) older(ctx context.Context, p *Package) iter.Seq2[folder.Lookup, error] {
	return func(yield func(folder.Lookup, error) bool) {
		pushes, err := r.pushes(ctx, p.Name)
		var unknown *NotFoundError
		if errors.As(err, &unknown) || errors.Is(err, errors.ErrUnsupported) { // which a web server says
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, push := range pushes {
			if push.Err != nil {
				continue
			}
			content, err := r.load(ctx, push.TopHash)
			var damage *DamageError
			if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
				continue // a revision that can not be had vouches for no file
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(func(key string) (quilt.Entry, bool) { return content.Entry(p.prefix + key) }, nil) {
				return
			}
		}
	}
}
