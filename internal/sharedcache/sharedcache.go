// Package sharedcache lays a cache that a team shares over the one on this machine's disk.
// The shared one is objects in a bucket or in a folder, through the same stores as
// packages; there is no server. README.md is its format.
//
// What is looked for is looked for on the disk first, and then there. A result that another
// machine has produced is one request, whatever its size: its blobs stay where they are
// until somebody reads them, and then come many at a time. What this machine produces goes
// up in the background, a result after all its blobs.
//
// The shared cache is not relied on. Every byte is compared with its digest before anybody
// sees it; one that is slow, down, full or lying costs time, and a build goes on without it.
// But which output belongs to which action is the word of those who may write to it.
package sharedcache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Local is the cache of this machine, over which the shared one is laid.
type Local interface {
	cas.Store
	stages.Cache
}

// Options say how a shared cache is used.
type Options struct {
	Location string           // what people call it, such as s3://bucket/prefix
	Prefix   string           // of the keys in the store
	ReadOnly bool             // nothing is uploaded
	Warn     func(string)     // is told, once, that it is not used any more, or what is wrong with it; may be nil
	Now      func() time.Time // time.Now when nil
	Patience time.Duration    // for an answer to begin; 0 for the default
}

// Cache is a local cache with a shared one behind it. It is a cas.Store and the engine's
// cache. Its methods may be called at the same time.
type Cache struct {
	local    Local
	remote   *remote
	location string
	readOnly bool
	now      func() time.Time
	warn     func(string)
	uploads  *uploads // nil when nothing is uploaded
	told     atomic.Bool

	mu       sync.Mutex // guards what follows
	entries  map[cas.Digest]*entry
	foreign  map[cas.Digest]bool       // actions whose result another machine has produced: whether it was used
	absent   map[cas.Digest]bool       // actions that have no entry, or none that counts
	own      map[cas.Digest]cas.Result // results of this machine
	sources  []*source                 // where blobs are looked for
	known    map[cas.Digest]bool       // actions and tables that are among the sources
	packs    map[[sha256.Size]byte]*packState
	bad      map[cas.Digest]bool // blobs that the shared cache does not have as it should
	lost     map[cas.Digest]bool // blobs that were asked for in vain since Needing was asked
	blobs    int64               // that came from the shared cache
	uploaded map[cas.Digest]bool // actions whose result was put into the shared cache
}

var (
	_ cas.Store     = (*Cache)(nil)
	_ stages.Cache  = (*Cache)(nil)
	_ stages.Locker = (*Cache)(nil)
	_ stages.Healer = (*Cache)(nil)
)

// New lays the shared cache in store over local. Close ends its use; the context is that
// of the uploads.
func New(ctx context.Context, local Local, store blob.Store, o Options) *Cache {
	c := &Cache{
		local: local, location: o.Location, readOnly: o.ReadOnly, now: o.Now, warn: o.Warn,
		remote:  &remote{store: store, prefix: o.Prefix, patience: cmp.Or(o.Patience, defaultPatience)},
		entries: map[cas.Digest]*entry{}, foreign: map[cas.Digest]bool{}, absent: map[cas.Digest]bool{},
		own: map[cas.Digest]cas.Result{}, known: map[cas.Digest]bool{}, packs: map[[sha256.Size]byte]*packState{},
		bad: map[cas.Digest]bool{}, lost: map[cas.Digest]bool{}, uploaded: map[cas.Digest]bool{},
	}
	if c.warn == nil {
		c.warn = func(string) {}
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.remote.reading.warn = func(cause error) { c.tell("the shared cache %s is not used any more: %v", c.location, cause) }
	c.remote.writing.warn = func(cause error) { c.tell("nothing more is put into the shared cache %s: %v", c.location, cause) }
	if !o.ReadOnly {
		c.uploads = startUploads(ctx, c.upload)
	}
	return c
}

// Close ends uploads that are under way and waits for them to end.
func (c *Cache) Close() {
	if c.uploads != nil {
		c.uploads.close()
	}
}

// Finish waits until all results are uploaded, or given up. progress is told how many bytes
// there are to upload, while it waits.
func (c *Cache) Finish(ctx context.Context, progress func(done, total int64)) error {
	if c.uploads == nil {
		return nil
	}
	return c.uploads.wait(ctx, progress)
}

// Traffic says what a shared cache was used for.
type Traffic struct {
	Results    int64 // that came from it
	Blobs      int64 // that were fetched
	Shared     int64 // results that were put there
	Downloaded int64 // bytes
	Uploaded   int64 // bytes
	Requests   int64
}

// Traffic returns what the shared cache was used for so far.
func (c *Cache) Traffic() Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.remote.traffic
	results := int64(0)
	for _, used := range c.foreign {
		if used {
			results++
		}
	}
	return Traffic{
		Results: results, Blobs: c.blobs, Shared: int64(len(c.uploaded)),
		Downloaded: t.downloaded.Load(), Uploaded: t.uploaded.Load(), Requests: t.requests.Load(),
	}
}

// Location returns what people call the shared cache.
func (c *Cache) Location() string { return c.location }

// Near returns the store that is written to, and that has what is at hand.
func (c *Cache) Near() cas.Store { return c.local }

// Put implements cas.Store.
func (c *Cache) Put(ctx context.Context, r io.Reader) (cas.Digest, error) { return c.local.Put(ctx, r) }

// Result returns what an action produced, on this machine or another. Of one that another
// machine has produced, the root of its tree is at hand; nothing else need be.
func (c *Cache) Result(ctx context.Context, action cas.Digest) (cas.Result, error) {
	r, err := c.local.Result(ctx, action)
	mine := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cas.Result{}, err
	}
	if mine && !r.Tree.IsZero() {
		missing, err := c.local.Missing(ctx, []cas.Digest{r.Tree.Digest()})
		if err != nil {
			return cas.Result{}, err
		}
		if len(missing) == 0 {
			c.hold(action, r)
			return r, nil
		}
	}
	e, err := c.entry(ctx, action)
	there := false
	if err == nil && e != nil {
		there, err = c.root(ctx, e)
	}
	switch {
	case err != nil:
		return cas.Result{}, err
	case there:
		c.use(action)
		return e.result, nil
	case mine:
		return r, nil // a run that was interrupted, or one whose tree is lost, which the engine finds
	}
	return cas.Result{}, &cas.BlobError{Digest: action, Err: fs.ErrNotExist}
}

// use counts a result that another machine has produced.
func (c *Cache) use(action cas.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, foreign := c.foreign[action]; foreign {
		c.foreign[action] = true
	}
}

// hold keeps a result of this machine for the upload that Note begins.
func (c *Cache) hold(action cas.Digest, r cas.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own[action] = r
}

// root brings the root of an entry's tree to this machine.
func (c *Cache) root(ctx context.Context, e *entry) (bool, error) {
	if e.Root == nil {
		return c.fetch(ctx, e.result.Tree.Digest())
	}
	if _, err := cas.PutBytes(ctx, c.local, e.Root); err != nil {
		return false, err
	}
	return true, nil
}

// entry returns the entry of an action, or nil: the one that this machine remembers, or that
// of the shared cache. Its blobs are found from then on.
func (c *Cache) entry(ctx context.Context, action cas.Digest) (*entry, error) {
	c.mu.Lock()
	e, absent := c.entries[action], c.absent[action]
	c.mu.Unlock()
	if e != nil || absent {
		return e, nil
	}
	if m, ok := c.recall(ctx, action); ok {
		c.add(m)
		return m.entry, nil
	}
	e, ok := c.download(ctx, action)
	if !ok {
		return nil, context.Cause(ctx)
	}
	m := memory{Day: c.today(), entry: e}
	c.add(m)
	c.remember(ctx, m)
	return e, nil
}

// download asks the shared cache for the entry of an action. Whatever goes wrong, it does not
// have one.
func (c *Cache) download(ctx context.Context, action cas.Digest) (*entry, bool) {
	data, err := c.remote.get(ctx, resultKey(action), 0, maxEntry)
	var e *entry
	if err == nil {
		if e, err = decodeEntry(data, action); err != nil {
			c.accuse(fmt.Sprintf("%s %v", resultKey(action), err))
		}
	}
	if err == nil {
		return e, true
	}
	if ctx.Err() == nil && !errors.Is(err, errOff) {
		c.mu.Lock()
		c.absent[action] = true
		c.mu.Unlock()
	}
	return nil, false
}

// add makes an entry known.
func (c *Cache) add(m memory) {
	c.search(m.entry.Table.Digest)
	c.mu.Lock()
	defer c.mu.Unlock()
	action := m.entry.Action.Digest
	c.entries[action] = m.entry
	if m.Own {
		c.own[action] = m.entry.result
	} else {
		c.foreign[action] = false
	}
}

// search makes blobs of a table ones that are found.
func (c *Cache) search(table cas.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !table.IsZero() && !c.known[table] {
		c.known[table] = true
		c.sources = append(slices.Clip(c.sources), &source{named: table})
	}
}

// From returns where the result of an action came from: the location of the shared cache, or
// nothing if this machine has produced it.
func (c *Cache) From(action cas.Digest) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, foreign := c.foreign[action]; foreign {
		return c.location
	}
	return ""
}

// accuse says that the shared cache is not what it should be.
func (c *Cache) accuse(what string) {
	c.tell("the shared cache %s is damaged: %s; what it lacks is made again", c.location, what)
}

// tell warns, once: one trouble brings others, and nobody has to do anything about them.
func (c *Cache) tell(format string, args ...any) {
	if !c.told.Swap(true) {
		c.warn(fmt.Sprintf(format, args...))
	}
}

// memory is what this machine remembers of a result.
type memory struct {
	Day   int64  `json:"day,omitempty"` // when the shared cache had it, since 1970; 0 for never
	Own   bool   `json:"own,omitempty"` // this machine has produced it
	Entry []byte `json:"entry"`

	entry *entry
}

func (c *Cache) memoryName(action cas.Digest) string {
	return "shared cache\x00" + c.location + "\x00" + action.Hex()
}

// recall returns what this machine remembers. What cannot be read is as good as nothing.
func (c *Cache) recall(ctx context.Context, action cas.Digest) (memory, bool) {
	d, err := c.local.Latest(ctx, c.memoryName(action))
	if err != nil {
		return memory{}, false
	}
	data, err := cas.ReadBlob(ctx, c.local, d)
	var m memory
	if err != nil || json.Unmarshal(data, &m) != nil {
		return memory{}, false
	}
	m.entry, err = decodeEntry(m.Entry, action)
	return m, err == nil
}

// remember does not fail: what cannot be kept is asked for again.
func (c *Cache) remember(ctx context.Context, m memory) {
	var err error
	if m.Entry, err = m.entry.encode(); err != nil {
		return
	}
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	if d, err := cas.PutBytes(ctx, c.local, data); err == nil {
		_ = c.local.Note(ctx, c.memoryName(m.entry.Action.Digest), d)
	}
}

func (c *Cache) today() int64 { return c.now().Unix() / int64(24*time.Hour/time.Second) }

// Record remembers what an action produced here. A result of which blobs are in the shared
// cache only is not recorded as one that the disk has whole.
func (c *Cache) Record(ctx context.Context, action cas.Digest, r cas.Result) error {
	if r.Tree.IsZero() { // how far an action has come that has no result, or none that counts
		c.drop(ctx, action)
		return c.local.Record(ctx, action, r)
	}
	rows, root, err := c.borrowed(ctx, r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.own[action] = r
	delete(c.foreign, action)
	delete(c.entries, action)
	c.mu.Unlock()
	if len(rows) == 0 {
		return c.local.Record(ctx, action, r)
	}
	at, err := cas.PutBytes(ctx, c.local, encodeTable(rows))
	if err != nil {
		return err
	}
	e, err := newEntry(action, r, root, at)
	if err != nil {
		return err
	}
	m := memory{Own: true, entry: e}
	c.add(m)
	c.remember(ctx, m)
	return nil
}

// borrowed returns where in the shared cache those blobs of a result are that this machine
// does not have, and the root of its tree.
func (c *Cache) borrowed(ctx context.Context, r cas.Result) (rows []row, root []byte, err error) {
	c.mu.Lock()
	none := len(c.sources) == 0
	c.mu.Unlock()
	if none {
		return nil, nil, nil
	}
	blobs, err := c.reach(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	missing, err := c.local.Missing(ctx, blobs)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range missing {
		if t, i, ok := c.locate(ctx, d); ok {
			rows = append(rows, t.row(i))
		}
	}
	if len(rows) < len(missing) { // what neither has will be missed by who reads it
		return nil, nil, nil
	}
	root, err = cas.ReadBlob(ctx, c, r.Tree.Digest())
	return rows, root, err
}

// reach returns the blobs of a result, each once, a directory before what is in it.
func (c *Cache) reach(ctx context.Context, r cas.Result) ([]cas.Digest, error) {
	var blobs []cas.Digest
	seen := make(map[cas.Digest]bool)
	visit := func(d cas.Digest) bool {
		if seen[d] {
			return false
		}
		seen[d] = true
		blobs = append(blobs, d)
		return true
	}
	for _, id := range r.Trees() {
		if err := cas.NewTree(c, id).Reach(ctx, visit); err != nil {
			return nil, err
		}
	}
	return blobs, nil
}

// Forget makes the action run again, whatever the shared cache has.
func (c *Cache) Forget(ctx context.Context, action cas.Digest) error {
	c.drop(ctx, action)
	return c.local.Forget(ctx, action)
}

// drop makes what the shared cache has of an action count no more.
func (c *Cache) drop(ctx context.Context, action cas.Digest) {
	c.mu.Lock()
	delete(c.entries, action)
	delete(c.foreign, action)
	delete(c.own, action)
	c.absent[action] = true
	c.mu.Unlock()
	if d, err := c.local.Latest(ctx, c.memoryName(action)); err == nil && d != forgotten {
		_ = c.local.Note(ctx, c.memoryName(action), forgotten) // what stays is found useless again
	}
}

// forgotten is the note of a memory that does not count any more.
var forgotten = cas.Sum(nil)

// Needing implements stages.Healer: it returns those of the results that need a blob which
// the shared cache should have had, and has not. The others are sound: one object that is
// gone says nothing of the rest.
func (c *Cache) Needing(ctx context.Context, results map[cas.Digest]cas.Result) ([]cas.Digest, error) {
	c.mu.Lock()
	lost := c.lost
	c.lost = make(map[cas.Digest]bool)
	c.mu.Unlock()
	var useless []cas.Digest
	for action, r := range results {
		if c.needs(ctx, r.Tree, lost) {
			useless = append(useless, action)
		}
	}
	return useless, context.Cause(ctx)
}

// needs reports whether a tree has one of the blobs, or cannot be read.
func (c *Cache) needs(ctx context.Context, id cas.TreeID, lost map[cas.Digest]bool) bool {
	found := false
	visit := func(d cas.Digest) bool {
		found = found || lost[d]
		return !found
	}
	return len(lost) > 0 && (cas.NewTree(c, id).Reach(ctx, visit) != nil || found)
}

// Latest returns the action that was last noted under a name: on this machine or, where
// nothing was, on any. The blobs of its result are found from then on.
func (c *Cache) Latest(ctx context.Context, name string) (cas.Digest, error) {
	action, err := c.local.Latest(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		var ok bool
		if action, ok = c.latest(ctx, name); !ok {
			return cas.Digest{}, err
		}
	} else if err != nil {
		return cas.Digest{}, err
	}
	c.consider(action)
	return action, nil
}

// latest is the action that was last noted under a name in the shared cache.
func (c *Cache) latest(ctx context.Context, name string) (cas.Digest, bool) {
	data, err := c.remote.get(ctx, latestKey(name), 0, maxPointer)
	var p pointer
	if err != nil || unseal(data, &p) != nil || p.Action.IsZero() {
		return cas.Digest{}, false
	}
	return p.Action.Digest, true
}

// consider makes the blobs of an action's result ones that are looked for.
func (c *Cache) consider(action cas.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known[action] {
		c.known[action] = true
		c.sources = append(slices.Clip(c.sources), &source{action: action})
	}
}

// Note makes action the latest of a name, and begins to upload its result if it is this
// machine's.
func (c *Cache) Note(ctx context.Context, name string, action cas.Digest) error {
	if err := c.local.Note(ctx, name, action); err != nil {
		return err
	}
	c.mu.Lock()
	result, own := c.own[action]
	c.mu.Unlock()
	if own && c.uploads != nil {
		c.uploads.add(job{name: name, action: action, result: result})
	}
	return nil
}

// Lock implements stages.Locker with the lock of this machine. Two machines that run an
// action at once produce the same.
func (c *Cache) Lock(ctx context.Context, action cas.Digest, waiting func(cas.Holder)) (unlock func(), err error) {
	if l, ok := c.local.(stages.Locker); ok {
		return l.Lock(ctx, action, waiting)
	}
	return func() {}, nil
}

// Open implements cas.Store. What this machine does not have is fetched first, and
// compared with its digest.
func (c *Cache) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	r, err := c.local.Open(ctx, d)
	if _, lost := errors.AsType[*cas.BlobError](err); !lost {
		return r, err
	}
	ok, failure := c.fetch(ctx, d)
	if failure != nil {
		return nil, failure
	}
	if ok {
		return c.local.Open(ctx, d)
	}
	if errors.Is(err, fs.ErrNotExist) {
		c.mu.Lock()
		if len(c.sources) > 0 {
			c.lost[d] = true
		}
		c.mu.Unlock()
	}
	return nil, err
}

// Missing implements cas.Store: it returns the digests of which neither this machine nor a
// result of the shared cache, as far as results were asked for, has the blob.
func (c *Cache) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	missing, err := c.local.Missing(ctx, ds)
	if err != nil || len(missing) == 0 {
		return missing, err
	}
	return slices.DeleteFunc(missing, func(d cas.Digest) bool {
		_, _, ok := c.locate(ctx, d)
		return ok
	}), context.Cause(ctx)
}

// empty is the blob of no bytes, which nobody keeps.
var empty = cas.Sum(nil)

// fetch brings a blob to this machine. It reports whether it is there; the error is this
// machine's.
func (c *Cache) fetch(ctx context.Context, d cas.Digest) (bool, error) {
	if d == empty {
		_, err := c.local.Put(ctx, bytes.NewReader(nil))
		return err == nil, err
	}
	t, i, ok := c.locate(ctx, d)
	if !ok {
		return false, context.Cause(ctx)
	}
	if err := c.readPack(ctx, t, i); err != nil {
		return false, err
	}
	missing, err := c.local.Missing(ctx, []cas.Digest{d})
	return err == nil && len(missing) == 0, err
}
