package jpeg

import (
	"image"
	"slices"
	"sync"

	"github.com/sandwich-build/sandwich/internal/photo/internal/kernels"
)

// levels is how many scales there are: 1, 1/2, 1/4 and 1/8.
const levels = 4

// Need is a part of a component that is wanted at a scale.
type Need struct {
	Component int             // its index
	Rect      image.Rectangle // in samples of the component as it is stored
	Shrink    int             // 1, 2, 4 or 8
}

// Plane has samples of a component that is shrunken by Shrink.
type Plane struct {
	Pix    []uint8
	Stride int
	Shrink int
	Rect   image.Rectangle // what Pix has, in samples of the shrunken component

	// Size of the shrunken component. What lies beyond it fills up blocks.
	Size image.Point
}

// level is a component at one scale.
type level struct {
	needs  []image.Rectangle // in blocks
	bounds image.Rectangle   // of all needs, in blocks; empty when nothing is wanted
	plane  Plane
}

func levelOf(shrink int) int {
	switch shrink {
	case 1:
		return 0
	case 2:
		return 1
	case 4:
		return 2
	}
	return 3
}

// coefficientsOf is how many coefficients, in zigzag order, a level needs.
var coefficientsOf = [levels]int{64, 25, 5, 1}

// want notes what is wanted of components.
func want(components []Component, needs []Need) {
	for i := range components {
		components[i].levels = [levels]level{}
	}
	for _, n := range needs {
		c := &components[n.Component]
		r := n.Rect.Intersect(image.Rect(0, 0, c.Width, c.Height))
		if r.Empty() {
			continue
		}
		blocks := image.Rect(r.Min.X/8, r.Min.Y/8, ceil(r.Max.X, 8), ceil(r.Max.Y, 8))
		l := &c.levels[levelOf(n.Shrink)]
		if !slices.Contains(l.needs, blocks) {
			l.needs = append(l.needs, blocks)
		}
		l.bounds = l.bounds.Union(blocks)
	}
	for i := range components {
		c := &components[i]
		c.firstNeed, c.afterLastNeed = c.down, 0
		for j := range c.levels {
			l := &c.levels[j]
			if l.bounds.Empty() {
				continue
			}
			c.firstNeed, c.afterLastNeed = min(c.firstNeed, l.bounds.Min.Y), max(c.afterLastNeed, l.bounds.Max.Y)
			side := 8 >> j
			l.plane.Shrink = 1 << j
			l.plane.Rect = image.Rectangle{Min: l.bounds.Min.Mul(side), Max: l.bounds.Max.Mul(side)}
			l.plane.Stride = l.plane.Rect.Dx()
			l.plane.Size = image.Point{X: ceil(c.Width, 1<<j), Y: ceil(c.Height, 1<<j)}
		}
	}
}

// bytes is what the planes need.
func (c *Component) bytes() (n int64) {
	for i := range c.levels {
		r := c.levels[i].plane.Rect
		n += int64(r.Dx()) * int64(r.Dy())
	}
	return n
}

// needsOfRow writes for each block of a row which levels want it, a bit each.
func (c *Component) needsOfRow(row int, to []uint8) {
	clear(to)
	if row < c.firstNeed || row >= c.afterLastNeed {
		return
	}
	for j := range c.levels {
		for _, r := range c.levels[j].needs {
			if row < r.Min.Y || row >= r.Max.Y {
				continue
			}
			for x := r.Min.X; x < r.Max.X; x++ {
				to[x] |= 1 << j
			}
		}
	}
}

// lastOf is the last coefficient that is needed of a block that the levels of a mask want.
var lastOf = [1 << levels]int{1: 63, 2: 24, 3: 63, 4: 4, 5: 63, 6: 24, 7: 63, 9: 63, 10: 24, 11: 63, 12: 4, 13: 63, 14: 24, 15: 63}

// put transforms a block and writes it to the planes of the levels of mask.
func (c *Component) put(x, y int, mask uint8, b *block) {
	for j := range c.levels {
		if mask>>j&1 == 0 {
			continue
		}
		p := &c.levels[j].plane
		side := 8 >> j
		to := p.Pix[(y*side-p.Rect.Min.Y)*p.Stride+x*side-p.Rect.Min.X:]
		switch j {
		case 0:
			b.transform8(to, p.Stride)
		case 1:
			kernels.Inverse4(to, p.Stride, &b.c)
		case 2:
			b.transform2(to, p.Stride)
		default:
			to[0] = clamp((b.c[0]+4)>>3 + 128)
		}
	}
}

// A buffer up to this size is kept for the next photo: fresh memory costs a page fault for
// each 4 kB, which takes as long as decoding them. Larger ones are left to the collector,
// so that what is kept does not count beside a photo of a hundred megapixels.
const maxPooled = 4 << 20

var pool sync.Pool

// scratch is memory that decoding uses.
type scratch struct {
	bits   []byte
	planes []uint8
	masks  []uint64
	stored []int16
}

func (s *scratch) release() {
	if cap(s.bits) > maxPooled || cap(s.planes) > maxPooled || 8*cap(s.masks) > maxPooled || 2*cap(s.stored) > maxPooled {
		return
	}
	pool.Put(s)
}

func newScratch() *scratch {
	if s, ok := pool.Get().(*scratch); ok {
		return s
	}
	return &scratch{}
}

// resize returns s with n elements, whatever they are.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
