package sharedcache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/stages/cas"
)

const (
	// packSize is how many bytes a pack has, unless a single blob has more. A request costs
	// what about a megabyte costs, so that more would not be faster; and a pack is the unit
	// in which things are lost.
	packSize = 32 << 20
	// packsAtOnce is how many packs are uploaded at once.
	packsAtOnce = 4
	// reuseDays is how old a pack may be for a new result to rely on it, and rememberDays how
	// long the word of a machine counts that the shared cache has a result. README.md says
	// how a bucket's lifecycle rule follows from the first.
	reuseDays    = 30
	rememberDays = 7
)

// job is a result to upload.
type job struct {
	name   string // under which the action was noted
	action cas.Digest
	result cas.Result
}

// uploads do one job after the other in the background.
type uploads struct {
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // has room for one

	done, total atomic.Int64 // bytes

	mu    sync.Mutex    // guards what follows
	queue []job         // the first is being done
	idle  chan struct{} // closed when the queue is empty
}

func startUploads(ctx context.Context, upload func(context.Context, job)) *uploads {
	ctx, cancel := context.WithCancel(ctx)
	u := &uploads{cancel: cancel, ended: make(chan struct{}), wake: make(chan struct{}, 1), idle: make(chan struct{})}
	close(u.idle)
	go func() {
		defer close(u.ended)
		for {
			for j, ok := u.first(); ok && ctx.Err() == nil; j, ok = u.next() {
				upload(ctx, j)
			}
			select {
			case <-ctx.Done():
				return
			case <-u.wake:
			}
		}
	}()
	return u
}

func (u *uploads) add(j job) {
	u.mu.Lock()
	if len(u.queue) == 0 {
		u.idle = make(chan struct{})
	}
	u.queue = append(u.queue, j)
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *uploads) first() (job, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) == 0 {
		return job{}, false
	}
	return u.queue[0], true
}

// next drops the first job, which is done, and returns the one behind it.
func (u *uploads) next() (job, bool) {
	u.mu.Lock()
	u.queue = u.queue[1:]
	if len(u.queue) == 0 {
		close(u.idle)
	}
	u.mu.Unlock()
	return u.first()
}

// progressInterval is how often who waits is told how far it is.
const progressInterval = 200 * time.Millisecond

// wait returns when the queue is empty.
func (u *uploads) wait(ctx context.Context, progress func(done, total int64)) error {
	u.mu.Lock()
	idle := u.idle
	u.mu.Unlock()
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-idle:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			progress(u.done.Load(), u.total.Load())
		}
	}
}

func (u *uploads) close() {
	u.cancel()
	<-u.ended
}

// upload puts a result into the shared cache, after all its blobs. What goes wrong with the
// shared cache was told by then; what goes wrong here will be found by who reads the blob.
func (c *Cache) upload(ctx context.Context, j job) {
	if c.shared(ctx, j) {
		c.point(ctx, j)
		return
	}
	e, table, err := c.uploadBlobs(ctx, j)
	if err != nil {
		return
	}
	text, err := e.encode()
	if err != nil {
		return
	}
	for _, object := range []struct {
		key  string
		data []byte
	}{{tableKey(e.Table.Digest), table}, {resultKey(j.action), text}} {
		if c.remote.put(ctx, object.key, blob.Bytes(object.data)) != nil {
			return
		}
	}
	c.mu.Lock()
	c.uploaded[j.action] = true
	c.mu.Unlock()
	c.point(ctx, j)
	_, _ = cas.PutBytes(ctx, c.local, table) // or it is read when it is needed
	c.search(e.Table.Digest)
	c.remember(ctx, memory{Day: c.today(), Own: true, entry: e})
}

// point makes a result that was uploaded just now the latest of a name; of which a result may
// have several.
func (c *Cache) point(ctx context.Context, j job) {
	c.mu.Lock()
	uploaded := c.uploaded[j.action]
	c.mu.Unlock()
	if !uploaded {
		return
	}
	if data, err := seal(pointer{digest{j.action}}); err == nil {
		_ = c.remote.put(ctx, latestKey(j.name), blob.Bytes(data)) // a courtesy to who comes next
	}
}

// shared reports whether the shared cache has a result already, as far as is known.
func (c *Cache) shared(ctx context.Context, j job) bool {
	if c.remote.reading.off() || c.remote.writing.off() {
		return true // it will not be told
	}
	c.mu.Lock()
	absent, uploaded := c.absent[j.action], c.uploaded[j.action]
	c.mu.Unlock()
	if uploaded {
		return true
	}
	if absent { // it was asked, or what it has is useless
		return false
	}
	if m, ok := c.recall(ctx, j.action); ok && m.Day > 0 && c.today()-m.Day <= rememberDays {
		return true
	}
	e, ok := c.download(ctx, j.action)
	if ok {
		c.search(e.Table.Digest)
		c.remember(ctx, memory{Day: c.today(), Own: true, entry: e})
	}
	return ok
}

// uploadBlobs uploads those blobs of a result that the shared cache does not have, and
// returns the result's entry and table.
func (c *Cache) uploadBlobs(ctx context.Context, j job) (*entry, []byte, error) {
	blobs, err := c.reach(ctx, j.result)
	if err != nil {
		return nil, nil, err
	}
	blobs = append(blobs, c.actionBlobs(ctx, j.action)...)
	if action, ok := c.latest(ctx, j.name); ok {
		c.consider(action)
	}
	rows, fresh, err := c.reuse(ctx, blobs)
	if err != nil {
		return nil, nil, err
	}
	packed, err := c.uploadPacks(ctx, fresh)
	if err != nil {
		return nil, nil, err
	}
	root, err := cas.ReadBlob(ctx, c, j.result.Tree.Digest())
	if err != nil {
		return nil, nil, err
	}
	table := encodeTable(append(rows, packed...))
	e, err := newEntry(j.action, j.result, root, cas.Sum(table))
	return e, table, err
}

// actionBlobs returns the blobs that describe an action: with them, another machine can say in
// what its own differs.
func (c *Cache) actionBlobs(ctx context.Context, action cas.Digest) []cas.Digest {
	text, err := cas.ReadBlob(ctx, c.local, action)
	var parts repb.Action
	if err != nil || proto.Unmarshal(text, &parts) != nil {
		return nil
	}
	blobs := []cas.Digest{action}
	for _, p := range []*repb.Digest{parts.GetCommandDigest(), parts.GetInputRootDigest()} {
		d, err := cas.NewDigest(p.GetHash(), p.GetSizeBytes())
		if err != nil {
			return nil
		}
		blobs = append(blobs, d)
	}
	if missing, err := c.local.Missing(ctx, blobs); err != nil || len(missing) > 0 {
		return nil
	}
	return blobs
}

// errNowhere says that neither this machine nor the shared cache has a blob.
var errNowhere = errors.New("a blob is nowhere")

// reuse divides blobs into those that the shared cache has, and those to upload. A pack that
// is used again was seen to be there.
func (c *Cache) reuse(ctx context.Context, blobs []cas.Digest) (rows []row, fresh []cas.Digest, err error) {
	missing, err := c.local.Missing(ctx, blobs)
	if err != nil {
		return nil, nil, err
	}
	away := make(map[cas.Digest]bool, len(missing))
	for _, d := range missing {
		away[d] = true
	}
	for sound := false; !sound; {
		rows, fresh, sound = nil, nil, true
		packs := make(map[pack]bool)
		for _, d := range blobs {
			if d.Size() == 0 {
				continue
			}
			at, ok := c.usable(ctx, d, away[d])
			switch {
			case ok:
				rows = append(rows, at)
				packs[at.pack] = true
			case away[d]:
				return nil, nil, errNowhere
			default:
				fresh = append(fresh, d)
			}
		}
		for p := range packs {
			there, err := c.there(ctx, p)
			if err != nil {
				return nil, nil, err
			}
			sound = sound && there
		}
	}
	return rows, fresh, nil
}

// usable returns where a blob lies, unless it should be uploaded again: because its pack is
// old, or was seen to be spoilt. A blob that is nowhere else is used in any case.
func (c *Cache) usable(ctx context.Context, d cas.Digest, away bool) (row, bool) {
	t, i, ok := c.locate(ctx, d)
	if !ok {
		return row{}, false
	}
	at := t.row(i)
	young := c.today()-int64(at.pack.day) <= reuseDays
	return at, away || young && !c.state(at.pack).is(spoilt)
}

// there reports whether the shared cache has a pack, whole. It asks once.
func (c *Cache) there(ctx context.Context, p pack) (bool, error) {
	state := c.state(p)
	if state.is(whole) || state.is(spoilt) {
		return true, nil
	}
	info, err := c.remote.stat(ctx, packKey(p))
	switch {
	case err == nil && info.Size == p.size:
		state.set(whole)
		return true, nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		state.set(gone)
		return false, nil
	}
	return false, err
}

// uploadPacks uploads blobs in packs and returns where they lie. A pack that an earlier run
// has uploaded, before it was interrupted, is not uploaded again.
func (c *Cache) uploadPacks(ctx context.Context, blobs []cas.Digest) ([]row, error) {
	var rows []row
	var planned int64
	for _, d := range blobs {
		planned += d.Size()
	}
	c.uploads.total.Add(planned)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(packsAtOnce)
	for part := range packed(blobs) {
		p := pack{name: packName(part), day: uint32(c.today())}
		for _, d := range part {
			rows = append(rows, row{digest: d, pack: p, offset: p.size})
			p.size += d.Size()
		}
		for i := len(rows) - len(part); i < len(rows); i++ {
			rows[i].pack.size = p.size
		}
		group.Go(func() error {
			defer c.uploads.done.Add(p.size)
			if there, err := c.there(ctx, p); err != nil || there && !c.state(p).is(spoilt) {
				return err
			}
			err := c.remote.put(ctx, packKey(p), blob.Body{Size: p.size, Open: func(ctx context.Context) (io.ReadCloser, error) {
				return join(ctx, c.local, part), nil
			}})
			if err == nil {
				c.mend(p, part)
			}
			return err
		})
	}
	return rows, group.Wait()
}

// mend notes that a pack was uploaded just now.
func (c *Cache) mend(p pack, blobs []cas.Digest) {
	c.state(p).set(whole)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range blobs {
		delete(c.bad, d)
	}
}

// packed divides blobs into packs.
func packed(blobs []cas.Digest) iter.Seq[[]cas.Digest] {
	return func(yield func([]cas.Digest) bool) {
		for len(blobs) > 0 {
			n, size := 0, int64(0)
			for n < len(blobs) && (n == 0 || size+blobs[n].Size() <= packSize) {
				size += blobs[n].Size()
				n++
			}
			if !yield(slices.Clip(blobs[:n])) {
				return
			}
			blobs = blobs[n:]
		}
	}
}

// join returns a reader of blobs, one after the other.
func join(ctx context.Context, store cas.Store, blobs []cas.Digest) io.ReadCloser {
	return &joined{open: func() (io.ReadCloser, error) {
		if len(blobs) == 0 {
			return nil, io.EOF
		}
		d := blobs[0]
		blobs = blobs[1:]
		return store.Open(ctx, d)
	}}
}

type joined struct {
	open func() (io.ReadCloser, error) // the next part; io.EOF behind the last
	part io.ReadCloser                 // nil between two
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.part == nil {
			part, err := j.open()
			if err != nil {
				return 0, err
			}
			j.part = part
		}
		n, err := j.part.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if err := j.Close(); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (j *joined) Close() error {
	if j.part == nil {
		return nil
	}
	part := j.part
	j.part = nil
	return part.Close()
}
