package train

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// maxKept is how many bytes of decoded pictures are kept, over all albums of a run, when
// the stage has no limit of memory, which is for them. Those above it are decoded again in each epoch, ahead of the step that needs them.
const maxKept = 2 << 30

// album is a list of pictures that are decoded when they are first looked at. They are
// kept as bytes, a fourth of the memory that values take: 49 kB at 128 pixels.
type album struct {
	tree   cas.Tree
	input  model.Preparation
	side   int
	rows   []cropfile.Assignment
	labels []int         // of each row
	left   *atomic.Int64 // bytes that may still be kept

	mu   sync.Mutex // guards kept
	kept [][]byte   // nil where it is not kept
}

func newAlbum(tree cas.Tree, input model.Preparation, side int, rows []cropfile.Assignment, labels map[string]int, left *atomic.Int64) *album {
	a := &album{tree: tree, input: input, side: side, rows: rows, kept: make([][]byte, len(rows)), left: left}
	for _, row := range rows {
		a.labels = append(a.labels, labels[row.Label])
	}
	return a
}

// pixels returns the i-th picture at the size of the network's input. It may be called
// from several goroutines at once.
func (a *album) pixels(ctx context.Context, i int) ([]byte, error) {
	a.mu.Lock()
	kept := a.kept[i]
	a.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	pixels, err := a.read(ctx, a.rows[i].Path)
	if err != nil {
		return nil, fmt.Errorf("crop %s: %w", a.rows[i].Path, err)
	}
	if a.left.Add(-int64(len(pixels))) >= 0 {
		a.mu.Lock()
		a.kept[i] = pixels
		a.mu.Unlock()
	}
	return pixels, nil
}

func (a *album) read(ctx context.Context, path string) ([]byte, error) {
	file, err := a.tree.ReadFile(ctx, path)
	if err != nil {
		return nil, err
	}
	img, err := photo.Decode(ctx, file, photo.DefaultLimits())
	if err != nil {
		return nil, err
	}
	return a.input.Pixels(img, a.side)
}
