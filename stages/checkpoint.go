package stages

import (
	"context"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// checkpoints are where a running stage keeps what it needs to go on after it was
// interrupted: in the cache, as the result of an action that is derived from the stage's.
// So it is found by the next run of the same action only, lives as long as recent results
// do, and is never seen as anybody's output.
type checkpoints struct {
	cache  Cache
	action cas.Digest
}

func (r *run) checkpoints(action cas.Digest) *checkpoints {
	return &checkpoints{cache: r.Cache, action: cas.Sum([]byte("checkpoint\x00" + action.String()))}
}

// forget drops the checkpoint of a stage that has its result. What it held is garbage then.
// One that stays does no harm: the action will not run again.
func (c *checkpoints) forget(ctx context.Context) { _ = c.cache.Forget(ctx, c.action) }

// keep implements keeper.
func (c *checkpoints) keep(ctx context.Context, tree cas.TreeID) error {
	return c.cache.Record(ctx, c.action, cas.Result{Tree: tree})
}

// kept implements keeper.
func (c *checkpoints) kept(ctx context.Context) (cas.TreeID, bool) {
	result, err := c.cache.Result(ctx, c.action)
	return result.Tree, err == nil
}

// keeper is where a running stage keeps a tree for the next run of the same action.
type keeper interface {
	keep(ctx context.Context, tree cas.TreeID) error
	kept(ctx context.Context) (cas.TreeID, bool)
}

// Keeps tells whether there is a place to keep anything for a next run: there is in a
// build.
func (t *Task) Keeps() bool { return t.keeper != nil }

// Keep keeps a tree for the next run of the same action, in place of the one kept before, in
// case this run is interrupted. Outside of a build it does nothing. A failure is no reason
// to stop.
func (t *Task) Keep(ctx context.Context, tree cas.Tree) error {
	if !t.Keeps() {
		return nil
	}
	return t.keeper.keep(ctx, tree.ID())
}

// Kept returns the tree that an interrupted run of the same action kept. Its blobs may be
// damaged or gone: what cannot be read is as good as none.
func (t *Task) Kept(ctx context.Context) (cas.Tree, bool) {
	if !t.Keeps() {
		return cas.Tree{}, false
	}
	id, ok := t.keeper.kept(ctx)
	if !ok {
		return cas.Tree{}, false
	}
	return cas.NewTree(t.store, id), true
}
