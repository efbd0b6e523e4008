package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// Revision is what a push makes a revision of.
type Revision struct {
	Message string
	Meta    quilt.Value    // an object, null, or absent; each makes another top hash
	Dirs    []quilt.Dir    // metadata of folders, which is not part of the top hash
	Files   []objects.File // which a push sorts
}

// Revision returns a package that is in the registry as something to push to another one,
// or under another name. It is pushed with the same top hash, unless the package has
// members in its header that only Quilt's own clients write, or hashes of before 2024. A
// server that has both registries copies the files by itself.
func (r *Registry) Revision(p *Package) Revision {
	return Revision{Message: p.Content.Message(), Meta: p.Content.Meta(), Dirs: p.Content.Dirs, Files: r.objects.Files(p.Content)}
}

// Package returns the package that a push of the revision makes where no workflow is
// required. Nothing is sent.
func (v Revision) Package(ctx context.Context) (*quilt.Package, error) {
	batch, err := objects.Hash(ctx, v.Files, transfer.Fixed(runtime.GOMAXPROCS(0)), nil)
	if err != nil {
		return nil, err
	}
	return v.content(batch)
}

func (v Revision) content(batch *objects.Batch) (*quilt.Package, error) {
	content, err := quilt.New(quilt.NewHeader(v.Meta, quilt.Value{}, v.Message), batch.Entries)
	if err != nil {
		return nil, err
	}
	content.Dirs = v.Dirs
	return content, nil
}

// PushOptions say how to push. The zero PushOptions are fine.
type PushOptions struct {
	// Expect is the revision that must be the latest, zero for none at all. By default it
	// is the one that is the latest when the push starts.
	Expect *quilt.TopHash
	// Beside leaves the latest revision as it is: the push only adds one to the log.
	Beside   bool
	Workers  int                  // files at once; 0 for as many as prove good
	Hashing  func(transfer.State) // is told what is read of the files whose hash is not known, before that
	Progress func(transfer.State) // is told what is in the registry
}

// Push makes rev the latest revision of a package, and reports whether that changed
// anything: when the latest revision has the same top hash, nothing is written.
// Objects that are there already are not sent again; so a push that failed is resumed
// by pushing again.
//
// A race that is lost is a *ConflictError. A file whose bytes are not what its size and
// hash say is a *DamageError, and a key that could not be installed a *quilt.KeyError.
func (r *Registry) Push(ctx context.Context, name string, rev Revision, opts PushOptions) (quilt.TopHash, bool, error) {
	top, created, err := r.push(ctx, name, rev, opts)
	var conflict *ConflictError
	if err != nil && !errors.As(err, &conflict) { // which names the push itself
		err = fmt.Errorf("push %s: %w", name, err)
	}
	return top, created, err
}

func (r *Registry) push(ctx context.Context, name string, rev Revision, opts PushOptions) (quilt.TopHash, bool, error) {
	if err := quilt.CheckName(name); err != nil {
		return quilt.TopHash{}, false, err
	}
	if err := r.writable(); err != nil {
		return quilt.TopHash{}, false, err
	}
	latest, tag, err := r.latest(ctx, name)
	if err != nil {
		return quilt.TopHash{}, false, err
	}
	batch, err := objects.Hash(ctx, rev.Files, r.paceOf(opts.Workers), opts.Hashing)
	if err != nil {
		return quilt.TopHash{}, false, err
	}
	content, err := rev.content(batch)
	if err != nil {
		return quilt.TopHash{}, false, err
	}
	top, err := content.TopHash()
	if err != nil || top == latest {
		return top, false, err
	}
	workflow, err := r.workflow(ctx)
	if err != nil {
		return top, false, err
	}
	if workflow.Kind() != quilt.Absent {
		content.Header = quilt.NewHeader(rev.Meta, workflow, rev.Message)
		if top, err = content.TopHash(); err != nil || top == latest {
			return top, false, err
		}
	}
	if opts.Expect != nil && *opts.Expect != latest {
		return top, false, &ConflictError{Name: name, Expected: *opts.Expect, Found: latest, Pushed: top}
	}
	before, err := r.before(ctx, latest)
	if err != nil {
		return top, false, err
	}
	meter := transfer.NewMeter(opts.Progress, len(content.Entries), content.Size())
	if err := r.objects.Send(ctx, name, batch, before, meter); err != nil {
		return top, false, err
	}
	if err := r.putPackage(ctx, top, content); err != nil {
		return top, false, err
	}
	if opts.Beside {
		created, err := r.list(ctx, name, top)
		return top, created, err
	}
	created, err := r.advance(ctx, name, top, latest, tag)
	return top, created, err
}

// list adds a revision to the log, and reports whether it was not there.
func (r *Registry) list(ctx context.Context, name string, top quilt.TopHash) (bool, error) {
	stamps, err := r.stamps(ctx, name)
	if err != nil {
		return false, err
	}
	for _, s := range slices.Backward(stamps) {
		if found, err := r.readPointer(ctx, s.key); err == nil && found == top {
			return false, nil
		}
	}
	_, err = r.stamp(ctx, name, top)
	return err == nil, err
}

// latest returns the latest revision, zero when there is none, with the tag of its
// pointer.
func (r *Registry) latest(ctx context.Context, name string) (quilt.TopHash, blob.Tag, error) {
	key := pointerKey(name, latestTag)
	data, tag, err := r.store.ReadTagged(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return quilt.TopHash{}, "", nil
	}
	if err != nil {
		return quilt.TopHash{}, "", err
	}
	top, err := pointer(key, data)
	return top, tag, err
}

// before returns the content of the latest revision, nil when there is none to be had.
func (r *Registry) before(ctx context.Context, latest quilt.TopHash) (*quilt.Package, error) {
	if latest.IsZero() {
		return nil, nil
	}
	content, err := r.load(ctx, latest)
	var damage *DamageError
	if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil // pushing is what repairs it
	}
	return content, err
}

// putPackage writes the package file, over one that may be there: that one has the same
// content, but may be damaged, or lead to where the registry was before.
func (r *Registry) putPackage(ctx context.Context, top quilt.TopHash, content *quilt.Package) error {
	size, err := io.Copy(io.Discard, content.Reader())
	if err != nil {
		return err
	}
	open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(content.Reader()), nil }
	return r.store.Put(ctx, packagesPrefix+top.String(), blob.Body{Size: size, Open: open})
}

// advance makes top the latest revision if expected still is, and reports whether it
// was this call that did.
func (r *Registry) advance(ctx context.Context, name string, top, expected quilt.TopHash, tag blob.Tag) (bool, error) {
	stamp, err := r.stamp(ctx, name, top)
	if err != nil {
		return false, err
	}
	err = r.store.PutIf(ctx, pointerKey(name, latestTag), []byte(top.String()), tag)
	if !errors.Is(err, blob.ErrChanged) {
		return err == nil, err
	}
	found, _, err := r.latest(ctx, name)
	if err != nil {
		return false, err
	}
	if found == top {
		return false, nil // somebody pushed the same
	}
	err = &ConflictError{Name: name, Expected: expected, Found: found, Pushed: top}
	if stamp != "" {
		// The revision was never the latest, so the log must not show it.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, r.store.Delete(clean, stamp))
	}
	return false, err
}

// maxStamp is the last timestamp of ten digits, which is what Quilt's servers take for
// one.
const maxStamp = 9_999_999_999

// stamp writes the timestamp pointer of a push and returns its key. It returns no key
// when a push that was killed, of the same content, left one.
//
// Timestamps only grow, whatever the clocks of the pushers say, and no push takes the
// timestamp of another one of the same second.
func (r *Registry) stamp(ctx context.Context, name string, top quilt.TopHash) (string, error) {
	stamps, err := r.stamps(ctx, name)
	if err != nil {
		return "", err
	}
	at := r.now().Unix()
	if len(stamps) > 0 {
		newest := stamps[len(stamps)-1]
		found, err := r.readPointer(ctx, newest.key)
		if err == nil && found == top {
			return "", nil
		}
		at = max(at, newest.unix+1)
	}
	for ; at <= maxStamp; at++ {
		key := pointerKey(name, fmt.Sprintf("%010d", at))
		err := r.store.PutIf(ctx, key, []byte(top.String()), "")
		if !errors.Is(err, blob.ErrChanged) {
			return key, err
		}
	}
	return "", fmt.Errorf("no timestamp is left after %d", maxStamp)
}

// stamped is a timestamp pointer.
type stamped struct {
	key  string
	unix int64 // seconds
}

// stamps lists the timestamp pointers of a package, oldest first.
func (r *Registry) stamps(ctx context.Context, name string) ([]stamped, error) {
	prefix := pointersPrefix + name + "/"
	var stamps []stamped
	for info, err := range r.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if unix, ok := parseStamp(strings.TrimPrefix(info.Key, prefix)); ok {
			stamps = append(stamps, stamped{info.Key, unix})
		}
	}
	slices.SortFunc(stamps, func(a, b stamped) int { return strings.Compare(a.key, b.key) })
	return stamps, nil
}

func parseStamp(s string) (int64, bool) {
	if len(s) != len("1500000000") {
		return 0, false
	}
	var unix int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		unix = 10*unix + int64(s[i]-'0')
	}
	return unix, true
}
