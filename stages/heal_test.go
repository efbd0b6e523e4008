package stages_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// points is a kind that, like download, writes only those blobs that the store lacks,
// and makes a tree of pointers to all.
type points struct{ files int }

func (points) Name() string  { return "points" }
func (points) Version() int  { return 1 }
func (p points) Params() any { return struct{ Files int }{p.files} }

func (p points) Run(ctx context.Context, t *stages.Task) error {
	for i := range p.files {
		d, err := cas.PutBytes(ctx, t.Store(), fmt.Appendf(nil, "file %d", i))
		if err != nil {
			return err
		}
		if err := t.Out().Add(fmt.Sprintf("files/%d", i), d); err != nil {
			return err
		}
	}
	return nil
}

// sizes is a kind that reads all files of its input and writes their total size, plus
// something.
type sizes struct{ Plus int64 }

func (sizes) Name() string  { return "sizes" }
func (sizes) Version() int  { return 1 }
func (s sizes) Params() any { return s }

func (s sizes) Run(ctx context.Context, t *stages.Task) error {
	var total int64
	for f, err := range t.Input("in").Files(ctx) {
		if err != nil {
			return err
		}
		r, err := t.Store().Open(ctx, f.Digest)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		_ = r.Close() // read to its end
		if err != nil {
			return err
		}
		total += n
	}
	return t.Out().PutBytes(ctx, "out", fmt.Append(nil, total+s.Plus))
}

// TestBuildHealsAllBlobsAtOnce damages far more blobs than there are stages, in a way
// that only reading them tells.
func TestBuildHealsAllBlobsAtOnce(t *testing.T) {
	const files = 100
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &stages.Engine{Store: store, Cache: store, Environment: "sha256:e"}
	for plus := range int64(2) {
		plan, err := stages.NewPlan("heal", []stages.Stage{
			{Name: "points", Kind: points{files}},
			{Name: "sizes", Kind: sizes{plus}, Inputs: []stages.Input{{Name: "in", From: "points"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b := build(t, e, plan)
		want := fmt.Sprint(690 + plus) // ten files of 6 bytes, ninety of 7
		if got, err := b.Tree("sizes").ReadFile(t.Context(), "out"); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		flipAll(t, store)
	}
}

// flipAll changes a byte of every blob, and leaves the sizes.
func flipAll(t *testing.T, store *disk.Store) {
	t.Helper()
	for _, l := range blobPlaces(t, store) {
		overwrite(t, l, func(b []byte) { b[len(b)-1] ^= 1 })
	}
}
