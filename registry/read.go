package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// OpenFile reads the file of p with the given logical key. The reader verifies: before
// it would yield the last bytes of a wrong file it returns a *DamageError. A key that p
// does not have is fs.ErrNotExist.
func (r *Registry) OpenFile(ctx context.Context, p *Package, key string) (io.ReadCloser, error) {
	e, ok := p.Content.Entry(key)
	if !ok {
		return nil, fmt.Errorf("open %s of %s: %w", key, p.Ref(), fs.ErrNotExist)
	}
	return r.objects.Open(ctx, e)
}

// ReadFile reads a whole file of p, as OpenFile does.
func (r *Registry) ReadFile(ctx context.Context, p *Package, key string) (_ []byte, err error) {
	f, err := r.OpenFile(ctx, p, key)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// VerifyObjects reads all bytes of a package from the registry and compares. The error
// is about the reading; what is missing or damaged is in the report.
func (r *Registry) VerifyObjects(ctx context.Context, p *Package, report func(transfer.State)) (folder.Report, error) {
	meter := transfer.NewMeter(report, len(p.Content.Entries), p.Content.Size())
	missing, wrong, err := r.objects.Verify(ctx, p.Content.Entries, meter)
	if err != nil {
		return folder.Report{}, fmt.Errorf("verify %s: %w", p.Ref(), err)
	}
	return folder.Report{Missing: missing, Changed: wrong}, nil
}
