package wire_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/castest"
	"github.com/sandwich-build/sandwich/stages/worker/internal/wire"
)

// holder is a kind that lends its task.
type holder struct {
	lend func(*stages.Task)
	free chan struct{}
}

func (holder) Name() string { return "holder" }

func (holder) Version() int { return 1 }

func (holder) Params() any { return struct{}{} }

func (h holder) Run(_ context.Context, t *stages.Task) error {
	h.lend(t)
	<-h.free
	return nil
}

// connect returns the client of a desk of a task with a store.
func connect(tb testing.TB, store cas.Store) *wire.Client {
	tb.Helper()
	tasks := make(chan *stages.Task, 1)
	h := holder{lend: func(t *stages.Task) { tasks <- t }, free: make(chan struct{})}
	ran := make(chan error, 1)
	go func() {
		_, err := stages.RunKind(context.Background(), store, h, nil, 1, stages.Discard)
		ran <- err
	}()
	desk := wire.NewDesk(tb.Context(), <-tasks, stages.Order{}, nil)
	questions, ask := pipe(tb)
	answers, answer := pipe(tb)
	served := make(chan error, 1)
	go func() { served <- desk.Serve(questions, answer) }()
	tb.Cleanup(func() {
		desk.End()
		close(h.free)
		if err := errors.Join(ask.Close(), <-served, <-ran); err != nil {
			tb.Error(err)
		}
		_ = answers.Close() // of which nothing is read any more
	})
	return wire.Connect(answers, ask, nil)
}

func pipe(tb testing.TB) (r, w *os.File) {
	tb.Helper()
	r, w, err := wire.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	return r, w
}

// TestStore holds what a worker has for a store to what every store promises.
func TestStore(t *testing.T) {
	type store struct {
		*wire.Client
		stages.Cache
	}
	castest.Run(t, func(t *testing.T) castest.Store {
		memory := cas.NewMemory()
		return store{connect(t, memory), memory}
	})
}

// TestBlobs stores and reads blobs of sizes around that of a chunk, with readers that return little at a
// time, and gives some up half way.
func TestBlobs(t *testing.T) {
	memory := cas.NewMemory()
	c := connect(t, memory)
	const chunk = 1 << 20
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 7} {
		data := make([]byte, size)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		d, err := c.Put(t.Context(), iotest.HalfReader(bytes.NewReader(data)))
		if err != nil || d != cas.Sum(data) {
			t.Fatalf("Put of %d bytes: %v, %v", size, d, err)
		}
		half, err := c.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(half, make([]byte, size/2)); err != nil {
			t.Error(err)
		}
		if err := half.Close(); err != nil {
			t.Error(err)
		}
		whole, err := c.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(iotest.TestReader(whole, data), whole.Close()); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	broken := errors.New("broken")
	big := io.MultiReader(bytes.NewReader(make([]byte, 2*chunk)), iotest.ErrReader(broken))
	if _, err := c.Put(t.Context(), big); !errors.Is(err, broken) {
		t.Errorf("Put of what breaks off returned %v", err)
	}
	missing, err := c.Missing(t.Context(), []cas.Digest{cas.Sum(make([]byte, 2*chunk))})
	if err != nil || len(missing) != 1 {
		t.Errorf("what broke off is there: %v, %v", missing, err)
	}
}

// damaged is a store on a disk that has lost a bit of each blob.
type damaged struct{ cas.Store }

func (s damaged) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	data, err := cas.ReadBlob(ctx, s.Store, d)
	if err != nil {
		return nil, err
	}
	data[len(data)/2] ^= 1
	return cas.Verify(io.NopCloser(bytes.NewReader(data)), d, nil), nil
}

// TestDamage reads blobs that are damaged: the reader says so with the last byte, as the store itself does.
func TestDamage(t *testing.T) {
	c := connect(t, damaged{cas.NewMemory()})
	for _, size := range []int{1, 5 << 20} {
		d, err := cas.PutBytes(t.Context(), c, bytes.Repeat([]byte{'x'}, size))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		// Who knows the size reads no further.
		_, err = io.Copy(io.Discard, io.LimitReader(r, int64(size)))
		if blob, ok := errors.AsType[*cas.BlobError](err); !ok || blob.Digest != d || !errors.Is(err, cas.ErrDamaged) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// oddError is an error with fields.
type oddError struct{ Names []string }

func (e *oddError) Error() string { return "odd " + strings.Join(e.Names, " ") }

func TestFailures(t *testing.T) {
	known := wire.Errors{new(fs.PathError), new(oddError)}
	blob := cas.Sum([]byte("x"))
	for _, err := range []error{
		nil, errors.New("simple"), fmt.Errorf("crop: %w", &oddError{[]string{"a", "b"}}),
		&cas.BlobError{Digest: blob, Err: cas.ErrDamaged}, fmt.Errorf("x: %w", &cas.BlobError{Digest: blob, Err: cas.ErrLost}),
		&cas.BlobError{Digest: blob, Err: errors.New("a disk")}, fs.ErrNotExist, errors.Join(context.Canceled, errors.New("more")),
	} {
		got := known.Err(known.Fail(err))
		if (got == nil) != (err == nil) || err != nil && got.Error() != err.Error() {
			t.Errorf("%v arrived as %v", err, got)
		}
		for _, is := range []error{fs.ErrNotExist, cas.ErrDamaged, cas.ErrLost, context.Canceled} {
			if errors.Is(got, is) != errors.Is(err, is) {
				t.Errorf("%v arrived as %v: errors.Is(%v) is %v", err, got, is, errors.Is(got, is))
			}
		}
		wantOdd, _ := errors.AsType[*oddError](err)
		gotOdd, _ := errors.AsType[*oddError](got)
		if diff := cmp.Diff(wantOdd, gotOdd); diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
		wantBlob, want := errors.AsType[*cas.BlobError](err)
		gotBlob, ok := errors.AsType[*cas.BlobError](got)
		if want != ok || want && wantBlob.Digest != gotBlob.Digest {
			t.Errorf("%v has the blob %v, want %v", got, gotBlob, wantBlob)
		}
	}
}

// recording is what a client has written.
type recording struct {
	io.Writer
	text bytes.Buffer
}

func (r *recording) Write(p []byte) (int, error) {
	r.text.Write(p)
	return r.Writer.Write(p)
}

// FuzzServe has a desk answer what no worker says. It must come to an end with the input.
func FuzzServe(f *testing.F) {
	lent := make(chan *stages.Task, 1)
	h := holder{lend: func(t *stages.Task) { lent <- t }, free: make(chan struct{})}
	go func() { _, _ = stages.RunKind(context.Background(), cas.NewMemory(), h, nil, 1, stages.Discard) }()
	task := <-lent
	f.Cleanup(func() { close(h.free) })
	serve := func(tb testing.TB, questions io.ReadCloser, answer io.WriteCloser) {
		desk := wire.NewDesk(tb.Context(), task, stages.Order{}, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = desk.Serve(questions, answer) // whatever it says of nonsense
		}()
		desk.End()
		<-done
		desk.Outcome()
	}
	// What a worker does say.
	questions, ask := pipe(f)
	answers, answer := pipe(f)
	said := &recording{Writer: ask}
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(f, questions, answer)
	}()
	c := wire.Connect(answers, said, nil)
	for _, size := range []int{10, 2 << 20} {
		d, err := c.Put(f.Context(), bytes.NewReader(make([]byte, size)))
		if err == nil {
			_, err = cas.ReadBlob(f.Context(), c, d)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	c.Know(f.Context(), cas.TreeID{})
	if err := c.Finish(stages.Done{}, errors.New("x")); err != nil {
		f.Fatal(err)
	}
	if err := ask.Close(); err != nil {
		f.Fatal(err)
	}
	<-served
	text := said.text.Bytes()
	f.Add(text)
	f.Add(text[len(text)-300:])
	f.Add([]byte("Illegal instruction\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		serve(t, io.NopCloser(bytes.NewReader(text)), nowhere{})
	})
}

// nowhere is where the answers to nonsense go.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func (nowhere) Close() error { return nil }

// BenchmarkStore reads and stores blobs over the pipes, and without them. Memory keeps the disk out of it.
func BenchmarkStore(b *testing.B) {
	for _, size := range []int{20 << 10, 100 << 10, 64 << 20} {
		data := bytes.Repeat([]byte{'x'}, size)
		memory := cas.NewMemory()
		d, err := memory.Put(b.Context(), bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		for _, store := range []struct {
			name string
			cas.Store
		}{{"here", memory}, {"pipe", connect(b, memory)}} {
			b.Run(fmt.Sprintf("read/%d/%s", size, store.name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					r, err := store.Open(b.Context(), d)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, r); err != nil {
						b.Fatal(err)
					}
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("store/%d/%s", size, store.name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := store.Put(b.Context(), bytes.NewReader(data)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
