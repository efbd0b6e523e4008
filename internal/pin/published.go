package pin

import (
	"bytes"
	"context"
	"crypto/md5" // as servers tell it; it protects nothing
	"encoding/hex"
	"io"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
)

// Published pins metadata files as they are now, whatever they were when have pinned them and
// whatever an earlier pinning has found. A file of which the server tells the size and the MD5
// sum of what was pinned is not read.
func (r *Resolver) Published(ctx context.Context, files []manifest.SourceFile, have []lock.Source) ([]lock.Source, error) {
	old := make(map[string]lock.Source, len(have))
	for _, s := range have {
		old[s.URL] = s
	}
	now := *r
	now.Journal = nil
	var pins []lock.Source
	var read []manifest.SourceFile
	asked := map[string]bool{}
	for _, f := range files {
		if asked[f.URL] {
			continue // two subsets may be one file
		}
		asked[f.URL] = true
		if s, pinned := old[f.URL]; pinned && r.unchanged(ctx, f, s) {
			pins = append(pins, s)
			continue
		}
		// What was published once is not what is asked for.
		f.OfficialMD5, f.OfficialSize = "", 0
		read = append(read, f)
	}
	fresh, err := now.Sources(ctx, read, nil)
	return append(pins, fresh...), err
}

// unchanged reports whether the server tells that a file is what was pinned.
func (r *Resolver) unchanged(ctx context.Context, f manifest.SourceFile, pin lock.Source) bool {
	if f.Folder() != "" || fetch.IsLocal(f.URL) {
		return false
	}
	told, err := r.Client.Ask(ctx, f.URL)
	if err != nil || told.MD5 == nil || told.Size != pin.Size {
		return false
	}
	want, err := r.sumOf(ctx, pin)
	return err == nil && bytes.Equal(told.MD5, want)
}

// sumOf returns the MD5 sum of what was pinned: that of the lock, or of the bytes in the store.
func (r *Resolver) sumOf(ctx context.Context, pin lock.Source) (_ []byte, err error) {
	if pin.MD5 != "" {
		return hex.DecodeString(pin.MD5)
	}
	d, err := storeDigest(pin.Digest, pin.Size)
	if err != nil {
		return nil, err
	}
	in, err := r.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	h := md5.New()
	if _, err := io.Copy(h, in); err != nil {
		_ = in.Close() // it was only read
		return nil, err
	}
	return h.Sum(nil), in.Close()
}
