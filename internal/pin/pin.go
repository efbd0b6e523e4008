// Package pin makes the pins of a lock: it finds out which bytes a metadata file or a
// photo is, now, and says so by digest. Here, and only here, a build meets the network
// as it is, with dead links, overloaded servers and pages that pretend to be photos.
// Afterwards it asks for bytes by digest, and FetchBlob gets them.
//
// # What becomes of a photo
//
// The places of a photo are tried in the manifest's order. A place that definitely does
// not have the photo (404, a deleted photo's placeholder, other bytes than the
// metadata promise) leads to the next. A photo that no place has becomes a tombstone
// with the reason of each place.
//
// A place that only cannot be reached (no network, a timeout, an overloaded server)
// says nothing about the photo. The photo then gets neither a pin nor a tombstone: the
// next place would be a worse copy by accident, and a lock would depend on the mood of
// a network. The other photos are pinned first, and then the pinning ends in an
// *UnreachableError; run again, it tries only what is left. Resolver.GiveUp is for
// hosts that will never answer again.
package pin

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Blobs brings pinned bytes into a store.
type Blobs struct {
	Client *fetch.Client
	Store  cas.Store
}

// FetchBlob makes sure that the store has the blob want, reading it from url if it has
// not. Other content at url is a *fetch.MismatchError and never enters the store.
func (b Blobs) FetchBlob(ctx context.Context, url string, want cas.Digest) error {
	missing, err := b.Store.Missing(ctx, []cas.Digest{want})
	if err != nil || len(missing) == 0 {
		return err
	}
	sum := want.SHA256()
	_, err = b.Fetch(ctx, url, fetch.Want{Size: want.Size(), SHA256: sum[:]})
	return err
}

// Fetch reads a file into the store, and returns its digest.
func (b Blobs) Fetch(ctx context.Context, url string, want fetch.Want) (cas.Digest, error) {
	body, err := b.Client.Open(ctx, url, want)
	if err != nil {
		return cas.Digest{}, err
	}
	defer func() { _ = body.Close() }() // what was read is verified
	return b.Store.Put(ctx, body)
}

// Resolver pins what a lock does not hold yet. Whatever arrives is in the store and in
// the journal at once, so that a run that is killed costs what was in flight.
type Resolver struct {
	Blobs
	Journal *Journal                   // nil keeps nothing
	Sums    Sums                       // nil reads files of this machine each time
	Index   func(folder string) string // the file in which what was read of a folder is remembered; nil reads folders each time
	Retry   bool                       // try the dead photos of the lock again
	Repin   bool                       // pin a photo of the lock anew when its bytes are neither in the store nor at their URL
	GiveUp  bool                       // take a place that does not answer for one that does not have the photo
	Missed  func(Failure)              // is told, photo by photo, of the places of each that got no pin in this run; nil tells nobody
}

// Failure is a place that did not give a photo. How often it was asked depends on the mood of
// the network, so that this is for people and programs to look at, and no part of a build.
type Failure struct {
	ImageID   openimages.ImageID
	Place     pinfile.Place
	URL       string
	Reason    string
	Attempts  int  // 0 when it was asked in a run before
	Unreached bool // nothing is known of the photo; it is asked for again by the next run
}

// Sums remembers the digests of files on this machine.
type Sums interface {
	// Sum returns the digest of the file name, which read reads unless it is known and the
	// file is as it was, by what stat tells.
	Sum(ctx context.Context, name string, stat func() (fs.FileInfo, error), read func() (cas.Digest, error)) (cas.Digest, error)
}

// Sources pins metadata files. A file that have pins already is read only when the
// store has lost it, and must then be what it was; but a path on this machine, which the
// user may edit at any time, is looked at on every call. The result has the order of
// files, each URL once.
func (r *Resolver) Sources(ctx context.Context, files []manifest.SourceFile, have []lock.Source) ([]lock.Source, error) {
	old := make(map[string]lock.Source, len(have))
	for _, s := range have {
		old[s.URL] = s
	}
	done := make(map[string]bool, len(files))
	var pins []lock.Source
	for _, f := range files {
		if done[f.URL] {
			continue
		}
		done[f.URL] = true
		s, pinned := old[f.URL]
		pin := r.source
		if f.Folder() != "" {
			pin = r.folder
		}
		s, err := pin(ctx, f, s, pinned && !fetch.IsLocal(f.URL))
		if err != nil {
			return nil, fmt.Errorf("pin %s: %w", f.Role, err)
		}
		pins = append(pins, s)
	}
	return pins, nil
}

func (r *Resolver) source(ctx context.Context, f manifest.SourceFile, old lock.Source, pinned bool) (lock.Source, error) {
	if pinned {
		want, err := storeDigest(old.Digest, old.Size)
		if err != nil {
			return lock.Source{}, err
		}
		return old, r.FetchBlob(ctx, f.URL, want)
	}
	sum, err := hex.DecodeString(f.OfficialMD5)
	if err != nil {
		return lock.Source{}, fmt.Errorf("official MD5 of %s: %w", f.URL, err)
	}
	want := fetch.Want{Size: f.OfficialSize}
	if len(sum) > 0 {
		want.MD5 = sum
	}
	got, err := r.fresh(ctx, f.URL, want)
	if err != nil {
		return lock.Source{}, err
	}
	return lock.Source{URL: f.URL, Digest: lockDigest(got), Size: got.Size(), MD5: f.OfficialMD5}, nil
}

// fresh returns what is at a URL now, or was when this pinning was begun.
func (r *Resolver) fresh(ctx context.Context, url string, want fetch.Want) (cas.Digest, error) {
	if fetch.IsLocal(url) {
		return r.local(ctx, url, want)
	}
	k := key{URL: url, MD5: base64.StdEncoding.EncodeToString(want.MD5)}
	if f, ok := r.Journal.find(k); ok && f.dead == "" {
		return f.digest, r.FetchBlob(ctx, url, f.digest)
	}
	d, err := r.Fetch(ctx, url, want)
	if err != nil {
		return cas.Digest{}, err
	}
	return d, r.Journal.add(k, fact{digest: d})
}

// local returns the digest of a file on this machine, which the store has then.
func (r *Resolver) local(ctx context.Context, url string, want fetch.Want) (cas.Digest, error) {
	read := func() (cas.Digest, error) { return r.Fetch(ctx, url, want) }
	name, err := r.Client.LocalPath(url)
	if r.Sums == nil || err != nil {
		return read() // which tells what is wrong with the URL
	}
	d, err := r.Sums.Sum(ctx, name, func() (fs.FileInfo, error) { return os.Stat(name) }, read)
	if err != nil {
		return read() // which tells the same in its own words
	}
	missing, err := r.Store.Missing(ctx, []cas.Digest{d})
	if err == nil && len(missing) > 0 {
		return read()
	}
	return d, err
}

func lockDigest(d cas.Digest) digest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, d.Hex())
}

func storeDigest(d digest.Digest, size int64) (cas.Digest, error) {
	if err := d.Validate(); err != nil {
		return cas.Digest{}, fmt.Errorf("pin %q: %w", d, err)
	}
	return cas.NewDigest(d.Encoded(), size)
}
