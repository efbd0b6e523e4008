package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/rpc"
	"sync"
	"time"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Client is the desk, and the store, as the process has them that does an order.
type Client struct {
	rpc   *rpc.Client
	known Errors

	mu      sync.Mutex // guards what follows
	told    time.Time  // when progress was told last
	waiting *stages.Progress
}

// Connect returns the client of a desk. The streams stay open.
func Connect(in io.Reader, out io.Writer, known Errors) *Client {
	return &Client{rpc: rpc.NewClient(conn{in, out, io.NopCloser(in)}), known: known}
}

// call asks the desk, which is not worth it any more when the context has ended.
func (c *Client) call(ctx context.Context, method string, args, reply any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	call := c.rpc.Go(service+"."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// late says that what is asked for under a context is wanted even when the work is to end.
func late(ctx context.Context) Late { return ctx.Done() == nil }

// Order returns what is to be done.
func (c *Client) Order(ctx context.Context) (stages.Order, error) {
	var o stages.Order
	err := c.call(ctx, "Order", Nothing(true), &o)
	return o, err
}

// Wait returns when the work is to end, or nobody is there any more who wants it.
func (c *Client) Wait() {
	var n Nothing
	_ = c.call(context.Background(), "Wait", Nothing(true), &n) // either way
}

// Finish tells what became of the order.
func (c *Client) Finish(done stages.Done, err error) error {
	c.mu.Lock()
	c.tell(time.Now())
	c.mu.Unlock()
	var n Nothing
	return c.call(context.Background(), "Finish", Outcome{done, c.known.Fail(err)}, &n)
}

// tellEvery is how often progress is told. A person sees no more, and each time costs as much as a
// small item of work.
const tellEvery = 50 * time.Millisecond

// Observe implements stages.Observer.
func (c *Client) Observe(e stages.Event) {
	var n Nothing
	switch e := e.(type) {
	case stages.Message:
		_ = c.call(context.Background(), "Message", e, &n) // who does not hear it does not hear the end
	case stages.Progress:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting = &e
		if now := time.Now(); now.Sub(c.told) >= tellEvery {
			c.tell(now)
		}
	}
}

// tell tells the progress that waits for that.
func (c *Client) tell(now time.Time) {
	if c.waiting == nil {
		return
	}
	var n Nothing
	_ = c.call(context.Background(), "Progress", *c.waiting, &n) // see Observe
	c.waiting, c.told = nil, now
}

// Keep implements stages.Desk.
func (c *Client) Keep(ctx context.Context, tree cas.TreeID) error {
	var f Failure
	if err := c.call(context.WithoutCancel(ctx), "Keep", tree, &f); err != nil || f.Text == "" {
		return err
	}
	return c.known.Err(&f)
}

// Know implements stages.Desk.
func (c *Client) Know(ctx context.Context, known cas.TreeID) {
	var n Nothing
	_ = c.call(context.WithoutCancel(ctx), "Know", known, &n) // see Observe
}

// Missing implements cas.Store.
func (c *Client) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	return c.missing(ctx, Question{Digests: ds, Late: late(ctx)})
}

func (c *Client) missing(ctx context.Context, q Question) ([]cas.Digest, error) {
	var m Missing
	if err := c.call(ctx, "Missing", q, &m); err != nil {
		return nil, err
	}
	return m.Digests, c.known.Err(m.Failure)
}

// Near implements cas.Layered.
func (c *Client) Near() cas.Store { return near{c} }

// near is the part of the store that is at hand for the desk.
type near struct{ *Client }

// Missing implements cas.Store.
func (n near) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	return n.missing(ctx, Question{Digests: ds, Near: true, Late: late(ctx)})
}

// Near implements cas.Layered.
func (n near) Near() cas.Store { return n }

// Open implements cas.Store. The desk verifies what is read.
func (c *Client) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	var first Chunk
	if err := c.call(ctx, "Open", Wanted{d, late(ctx)}, &first); err != nil {
		return nil, err
	}
	if f := first.Failure; f != nil && len(first.Data) == 0 {
		return nil, c.known.Err(f)
	}
	return &blob{client: c, ctx: ctx, chunk: first}, nil
}

// blob is a blob that is read.
type blob struct {
	client *Client
	ctx    context.Context //nolint:containedctx // that of Open, as for every reader of a store
	chunk  Chunk           // what is left of the last one
}

func (b *blob) Read(p []byte) (int, error) {
	if len(b.chunk.Data) == 0 && b.more() {
		var next Chunk
		if err := b.client.call(b.ctx, "Read", b.chunk.Handle, &next); err != nil {
			b.chunk.End = true // whatever became of it, it is read no further
			return 0, err
		}
		b.chunk = next
	}
	n := copy(p, b.chunk.Data)
	b.chunk.Data = b.chunk.Data[n:]
	switch {
	case len(b.chunk.Data) > 0 || b.more():
		return n, nil
	case b.chunk.Failure != nil:
		return n, b.client.known.Err(b.chunk.Failure)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// more says whether the desk has more than the last chunk.
func (b *blob) more() bool { return !b.chunk.End && b.chunk.Failure == nil }

func (b *blob) Close() error {
	if !b.more() {
		return nil
	}
	b.chunk.End = true
	var n Nothing
	return b.client.call(context.WithoutCancel(b.ctx), "Close", b.chunk.Handle, &n)
}

// Put implements cas.Store.
func (c *Client) Put(ctx context.Context, r io.Reader) (cas.Digest, error) {
	// Most blobs are small, and need no buffer of the size of a chunk.
	var first bytes.Buffer
	n, err := first.ReadFrom(io.LimitReader(r, chunk))
	if err != nil {
		return cas.Digest{}, err
	}
	if n < chunk {
		return c.stored(ctx, "Put", Small{first.Bytes(), late(ctx)})
	}
	var handle int
	if err := c.call(ctx, "Create", late(ctx), &handle); err != nil {
		return cas.Digest{}, err
	}
	parts := bufio.NewWriterSize(part{c, ctx, handle}, chunk)
	if _, err = parts.ReadFrom(io.MultiReader(&first, r)); err == nil {
		err = parts.Flush()
	}
	if err != nil {
		var n Nothing
		return cas.Digest{}, errors.Join(err, c.call(context.WithoutCancel(ctx), "Abort", handle, &n))
	}
	return c.stored(ctx, "Commit", handle)
}

func (c *Client) stored(ctx context.Context, method string, args any) (cas.Digest, error) {
	var s Stored
	if err := c.call(ctx, method, args, &s); err != nil {
		return cas.Digest{}, err
	}
	return s.Digest, c.known.Err(s.Failure)
}

// part writes to a blob.
type part struct {
	client *Client
	ctx    context.Context //nolint:containedctx // that of Put
	handle int
}

func (p part) Write(data []byte) (int, error) {
	var n Nothing
	return len(data), p.client.call(p.ctx, "Write", Part{p.handle, data}, &n)
}
