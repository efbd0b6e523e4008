package steps

import (
	"unsafe"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// Pooled is a contraction and the maximum over windows of its result, which is never
// stored: a strip of it, as much as one line of windows needs, stays in the cache.
type Pooled struct {
	*Windows
	*Contraction
	To      program.Slot // the maxima
	Numbers program.Slot // which element of each window is the largest, a byte each
	Number  bool         // whether these are wanted

	m      *product
	base   []int32 // where in A each strip begins, in bytes
	inside []int32 // bytes to a window's elements in a strip
	across int     // windows of a strip
	apart  int     // bytes from one window to the next
}

// Prepare says whether the two can be computed together: windows that do not overlap
// from one line to the next, over a dense float32 picture, channels last, whose products
// are worth it.
func (t *Pooled) Prepare(p *Plan) bool {
	w, cols := t.Windows, len(t.CCol)
	if !w.numbered() || len(w.in) != 3 || w.size[0] != 1 || w.stride[0] != 1 || w.stride[1] < w.size[1] ||
		w.run != cols || len(t.CBatch) != 1 || !consecutive(t.CCol) || !dense(t.CRow, cols) || len(t.ADepth) == 0 || len(t.CRow) == 0 {
		return false
	}
	m := newProduct(t.Contraction, p)
	if !m.once {
		return false
	}
	t.across, t.apart = w.out[2], w.stride[2]*cols*4
	// The columns of the picture that windows reach, for each row of a window.
	reach := (w.out[2]-1)*w.stride[2] + (w.size[2]-1)*w.dilation[2] + 1
	rows := (w.size[1]-1)*w.dilation[1] + 1
	if reach*rows*cols*4 > small || w.dilation[1] != 1 {
		return false
	}
	strip := make([]int32, 0, reach*rows)
	for y := range rows {
		for x := range reach {
			strip = append(strip, t.ARow[y*w.in[2]+x]-t.ARow[0])
		}
	}
	for picture := range w.out[0] {
		for y := range w.out[1] {
			t.base = append(t.base, t.ARow[(picture*w.in[1]+y*w.stride[1])*w.in[2]])
		}
	}
	if !t.regular(strip) {
		return false
	}
	t.base = inBytes(t.base)
	for y := range w.size[1] {
		for x := range w.size[2] {
			t.inside = append(t.inside, int32((y*reach+x*w.dilation[2])*cols*4))
		}
	}
	t.m = m.rowsFrom(strip)
	t.m.group, t.m.block = t.m.tiles(), t.m.panels
	return true
}

// regular says whether every strip lies in A as the first one does.
func (t *Pooled) regular(strip []int32) bool {
	w := t.Windows
	reach := len(strip) / w.size[1]
	for i, base := range t.base {
		first := (i/w.out[1]*w.in[1] + i%w.out[1]*w.stride[1]) * w.in[2]
		for j, o := range strip {
			if t.ARow[first+j/reach*w.in[2]+j%reach] != base+o {
				return false
			}
		}
	}
	return true
}

// Plan plans both. Prepare has said yes.
func (t *Pooled) Plan(p *Plan) {
	touches := []program.Slot{t.A, t.B, t.To, t.m.packOnce(p)}
	if t.Number {
		touches = append(touches, t.Numbers)
	}
	set, cols := p.Kernels, len(t.CCol)
	size := len(t.m.aRow) * cols * 4
	work := func(r *program.Run, s *program.Scratch, lo, hi int) {
		needed := t.m.scratchSize(t.m.tiles(), t.m.panels)
		strip := unsafe.Add(s.At(needed+size), needed)
		for i := lo; i < hi; i++ {
			t.m.rectangle(r, s, part{
				a: slotAt(r, t.A, int(t.ABatch[0])*4+int(t.base[i])), c: strip,
				tiles: t.m.tiles(), panels: t.m.panels,
			})
			for x := range t.across {
				from := unsafe.Add(strip, x*t.apart)
				set.MaxWindow(slotAt(r, t.To, (i*t.across+x)*cols*4), from, &t.inside[0], len(t.inside), cols)
				if t.Number {
					set.Winner(slotAt(r, t.Numbers, (i*t.across+x)*cols), from, &t.inside[0], len(t.inside), cols)
				}
			}
		}
	}
	band := program.Band{Slot: t.To, Elements: t.across * cols, Total: len(t.base) * t.across * cols}
	p.DoBand(band, len(t.base), 1, work, touches...)
}
