package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"slices"
	"sync"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Desk answers the process that does an order. Its methods, but for Serve, End and Outcome, are for
// that process.
type Desk struct {
	task  *stages.Task
	order stages.Order
	known Errors

	working context.Context // ends when the work is to end
	serving context.Context // ends when nobody can ask any more
	end     context.CancelFunc

	mu      sync.Mutex // guards what follows
	last    int        // handle
	readers map[int]reading
	writers map[int]*writing
	asked   bool
	failed  []error // what the other process has been told of, the last of them
	failing int     // how many that were
	outcome *Outcome
}

// reading is a blob that is read.
type reading struct {
	io.ReadCloser
	left int64 // bytes
}

// writing is a blob that is written.
type writing struct {
	*io.PipeWriter
	stored chan Stored
}

// NewDesk returns the desk of a task, whose work is to end when the context does.
func NewDesk(ctx context.Context, t *stages.Task, o stages.Order, known Errors) *Desk {
	d := &Desk{task: t, order: o, known: known, working: ctx, readers: make(map[int]reading), writers: make(map[int]*writing)}
	d.serving, d.end = context.WithCancel(context.WithoutCancel(ctx))
	return d
}

// Serve answers until the other process is gone.
func (d *Desk) Serve(in io.ReadCloser, out io.WriteCloser) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, d); err != nil {
		return err
	}
	server.ServeConn(conn{in, out, closers{in, out}})
	d.mu.Lock()
	readers, writers := d.readers, d.writers
	d.mu.Unlock()
	var errs []error
	for _, r := range readers {
		errs = append(errs, r.Close())
	}
	for _, w := range writers {
		_ = w.CloseWithError(io.ErrUnexpectedEOF) // it never fails
		<-w.stored
	}
	return errors.Join(errs...)
}

// End lets go of who waits for the work to end: the other process is gone, or will be.
func (d *Desk) End() { d.end() }

// Outcome returns what the other process has said last; nil when it has not come to an end.
func (d *Desk) Outcome() *Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.outcome
}

// context is what something is done under.
func (d *Desk) context(late Late) context.Context {
	if late {
		return d.serving
	}
	return d.working
}

// maxFailed bounds the errors that are remembered. The one that ends the work is among the last.
const maxFailed = 64

// fail makes a Failure of an error, which is known when it comes back.
func (d *Desk) fail(err error) *Failure {
	f := d.known.Fail(err)
	if f == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing++
	f.Origin = d.failing
	if d.failed = append(d.failed, err); len(d.failed) > maxFailed {
		d.failed = slices.Delete(d.failed, 0, 1)
	}
	return f
}

// Err makes an error of the Failure of an Outcome. What has come from here is what it was.
func (d *Desk) Err(f *Failure) error {
	err := d.known.Err(f)
	far, ok := errors.AsType[*farError](err)
	if !ok || far.origin == 0 {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := far.origin - 1 - (d.failing - len(d.failed)); i >= 0 && i < len(d.failed) {
		far.causes = append(far.causes, d.failed[i])
	}
	return err
}

// Order tells what is to be done.
func (d *Desk) Order(_ Nothing, o *stages.Order) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	*o, d.asked = d.order, true
	return nil
}

// Asked says whether the other process has asked what is to be done.
func (d *Desk) Asked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Wait returns when the work is to end.
func (d *Desk) Wait(Nothing, *Nothing) error {
	select {
	case <-d.working.Done():
	case <-d.serving.Done():
	}
	return nil
}

// Progress tells how far the work is.
func (d *Desk) Progress(p stages.Progress, _ *Nothing) error {
	d.task.Tell(p)
	return nil
}

// Message passes a line on.
func (d *Desk) Message(m stages.Message, _ *Nothing) error {
	d.task.Tell(m)
	return nil
}

// Know keeps what is known of the items.
func (d *Desk) Know(id cas.TreeID, _ *Nothing) error {
	d.task.Know(id)
	return nil
}

// Keep keeps a tree for the next run.
func (d *Desk) Keep(id cas.TreeID, f *Failure) error {
	// What a stage keeps when it is interrupted is what it keeps anything for.
	if err := d.task.Keep(d.serving, cas.NewTree(d.task.Store(), id)); err != nil {
		*f = *d.fail(err)
	}
	return nil
}

// Finish takes what became of the order.
func (d *Desk) Finish(o Outcome, _ *Nothing) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcome = &o
	return nil
}

// Missing tells which blobs are missing.
func (d *Desk) Missing(q Question, m *Missing) error {
	store := d.task.Store()
	if q.Near {
		store = cas.Near(store)
	}
	missing, err := store.Missing(d.context(q.Late), q.Digests)
	m.Digests, m.Failure = missing, d.fail(err)
	return nil
}

// Open begins to read a blob.
func (d *Desk) Open(blob Wanted, c *Chunk) error {
	r, err := d.task.Store().Open(d.context(blob.Late), blob.Digest)
	if err != nil {
		c.Failure = d.fail(err)
		return nil
	}
	d.mu.Lock()
	d.last++
	handle := d.last
	d.mu.Unlock()
	d.read(handle, reading{r, blob.Digest.Size()}, c)
	return nil
}

// Read reads on.
func (d *Desk) Read(handle int, c *Chunk) error {
	r, err := d.take(handle)
	if err == nil {
		d.read(handle, r, c)
	}
	return err
}

// Close ends reading before the end.
func (d *Desk) Close(handle int, _ *Nothing) error {
	r, err := d.take(handle)
	if err != nil {
		return err
	}
	return r.Close()
}

// take removes a blob from those that are read.
func (d *Desk) take(handle int) (reading, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.readers[handle]
	if !ok {
		return r, unknown(handle)
	}
	delete(d.readers, handle)
	return r, nil
}

func unknown(handle int) error { return fmt.Errorf("no blob has the handle %d", handle) }

// read reads a chunk, and keeps the reader unless that is the last one.
func (d *Desk) read(handle int, r reading, c *Chunk) {
	size := int64(chunk)
	if r.left <= chunk {
		size = r.left + 1 // to meet the end, where damage shows
	}
	data := make([]byte, size)
	n, err := io.ReadFull(r, data)
	c.Data, c.Handle = data[:n], handle
	if r.left -= int64(n); err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.readers[handle] = r
		return
	}
	if c.End = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); c.End {
		err = nil
	}
	c.Failure = d.fail(errors.Join(err, r.Close()))
}

// Put stores a blob of one part.
func (d *Desk) Put(blob Small, s *Stored) error {
	digest, err := d.task.Store().Put(d.context(blob.Late), bytes.NewReader(blob.Data))
	s.Digest, s.Failure = digest, d.fail(err)
	return nil
}

// Create begins to store a blob of several parts.
func (d *Desk) Create(late Late, handle *int) error {
	r, w := io.Pipe()
	writer := &writing{w, make(chan Stored, 1)}
	d.mu.Lock()
	d.last++
	*handle = d.last
	d.writers[*handle] = writer
	d.mu.Unlock()
	go func() {
		digest, err := d.task.Store().Put(d.context(late), r)
		_ = r.CloseWithError(err) // it never fails
		writer.stored <- Stored{digest, d.fail(err)}
	}()
	return nil
}

// Write stores a part. That it could not is told by Commit.
func (d *Desk) Write(p Part, _ *Nothing) error {
	d.mu.Lock()
	w := d.writers[p.Handle]
	d.mu.Unlock()
	if w == nil {
		return unknown(p.Handle)
	}
	_, _ = w.Write(p.Data)
	return nil
}

// Commit ends the blob.
func (d *Desk) Commit(handle int, s *Stored) error { return d.finish(handle, io.EOF, s) }

// Abort gives the blob up.
func (d *Desk) Abort(handle int, _ *Nothing) error {
	var stored Stored
	return d.finish(handle, io.ErrUnexpectedEOF, &stored)
}

func (d *Desk) finish(handle int, with error, s *Stored) error {
	d.mu.Lock()
	w := d.writers[handle]
	delete(d.writers, handle)
	d.mu.Unlock()
	if w == nil {
		return unknown(handle)
	}
	_ = w.CloseWithError(with) // it never fails
	*s = <-w.stored
	return nil
}
