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
	store  cas.Store
	cache  Cache
	action cas.Digest
}

func (r *run) checkpoints(action cas.Digest) *checkpoints {
	return &checkpoints{store: r.Store, cache: r.Cache, action: cas.Sum([]byte("checkpoint\x00" + action.String()))}
}

// forget drops the checkpoint of a stage that has its result. What it held is garbage then.
// One that stays does no harm: the action will not run again.
func (c *checkpoints) forget(ctx context.Context) {
	if c != nil {
		_ = c.cache.Forget(ctx, c.action)
	}
}

// Keeps tells whether there is a place to keep anything for a next run: there is in a
// build.
func (t *Task) Keeps() bool { return t.checkpoints != nil }

// Keep keeps a tree for the next run of the same action, in place of the one kept before, in
// case this run is interrupted. Outside of a build it does nothing. A failure is no reason
// to stop.
func (t *Task) Keep(ctx context.Context, tree cas.Tree) error {
	if !t.Keeps() {
		return nil
	}
	return t.checkpoints.cache.Record(ctx, t.checkpoints.action, cas.Result{Tree: tree.ID()})
}

// Kept returns the tree that an interrupted run of the same action kept. Its blobs may be
// damaged or gone: what cannot be read is as good as none.
func (t *Task) Kept(ctx context.Context) (cas.Tree, bool) {
	if !t.Keeps() {
		return cas.Tree{}, false
	}
	result, err := t.checkpoints.cache.Result(ctx, t.checkpoints.action)
	if err != nil {
		return cas.Tree{}, false
	}
	return cas.NewTree(t.checkpoints.store, result.Tree), true
}
