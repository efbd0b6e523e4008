// Package upkeep looks after a store: what is in it, what can go, whether it is whole,
// and how to bring a part of it to another machine. It decides what is needed; package
// cas knows how it is kept.
package upkeep

import (
	"context"
	"errors"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// closure collects the blobs that results need.
type closure struct {
	store cas.Store
	seen  map[cas.Digest]bool
	bytes int64 // of the blobs in seen
	added []cas.Digest
}

func newClosure(s cas.Store) *closure { return &closure{store: s, seen: map[cas.Digest]bool{}} }

// add collects what a result needs: its trees, and its action with the names of
// what the action read, which explain why a later build differs. The trees that it read are
// needed by the stages that made them. What the store has lost is left out: the rest
// still saves work.
func (c *closure) add(ctx context.Context, r disk.CachedResult) error {
	c.added = c.added[:0]
	for _, id := range r.Result.Trees() {
		err := cas.NewTree(c.store, id).Reach(ctx, c.visit)
		if _, lost := errors.AsType[*cas.BlobError](err); err != nil && !lost {
			return err
		}
	}
	for _, d := range c.action(ctx, r.Action) {
		c.visit(d)
	}
	return nil
}

func (c *closure) visit(d cas.Digest) bool {
	if c.seen[d] {
		return false
	}
	c.seen[d] = true
	c.bytes += d.Size()
	c.added = append(c.added, d)
	return true
}

// undo takes out what the last add has collected.
func (c *closure) undo() {
	for _, d := range c.added {
		delete(c.seen, d)
		c.bytes -= d.Size()
	}
}

// root collects what a root needs and the store has, besides its results.
func (c *closure) root(ctx context.Context, r Root) error {
	missing, err := c.store.Missing(ctx, r.Blobs)
	if err != nil {
		return err
	}
	absent := make(map[cas.Digest]bool, len(missing))
	for _, d := range missing {
		absent[d] = true
	}
	for _, d := range r.Blobs {
		if !absent[d] {
			c.visit(d)
		}
	}
	for _, id := range r.Actions {
		for _, d := range c.action(ctx, id) {
			c.visit(d)
		}
	}
	return nil
}

// action returns the blobs that describe an action. One that cannot be read explains
// nothing, and is not needed.
func (c *closure) action(ctx context.Context, id cas.Digest) []cas.Digest {
	var act repb.Action
	data, err := cas.ReadBlob(ctx, c.store, id)
	if err != nil || proto.Unmarshal(data, &act) != nil {
		return nil
	}
	var needed []cas.Digest
	for _, p := range []*repb.Digest{act.GetCommandDigest(), act.GetInputRootDigest()} {
		if d, err := cas.NewDigest(p.GetHash(), p.GetSizeBytes()); err == nil {
			needed = append(needed, d)
		}
	}
	if missing, err := c.store.Missing(ctx, needed); err != nil || len(missing) > 0 {
		return nil
	}
	return append(needed, id)
}
