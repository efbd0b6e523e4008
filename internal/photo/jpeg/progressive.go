package jpeg

import (
	"context"
	"image"
	"math/bits"
)

// coefficients are those of a progressive component, between its scans.
type coefficients struct {
	// present has a bit, in zigzag order, for each coefficient other than 0 of each block:
	// what a refinement has to know of a block even if nobody wants it.
	present []uint64

	// stored has the first per coefficients, in zigzag order, of each block within bounds.
	stored []int16
	bounds image.Rectangle
	per    int
}

// wantedBlocks returns the blocks of which coefficients are kept, and how many.
func (c *Component) wantedBlocks() (bounds image.Rectangle, per int) {
	for j := range c.levels {
		if l := &c.levels[j]; !l.bounds.Empty() {
			bounds, per = bounds.Union(l.bounds), max(per, coefficientsOf[j])
		}
	}
	return bounds, per
}

func (c *Component) coefficientBytes() int64 {
	bounds, per := c.wantedBlocks()
	return 8*int64(c.across)*int64(c.down) + 2*int64(per)*int64(bounds.Dx())*int64(bounds.Dy())
}

func (d *decoder) allocateCoefficients() {
	masks, stored := 0, 0
	for i := range d.file.Components {
		c := &d.file.Components[i]
		c.progressive.bounds, c.progressive.per = c.wantedBlocks()
		masks += c.across * c.down
		stored += c.progressive.per * c.progressive.bounds.Dx() * c.progressive.bounds.Dy()
	}
	d.scratch.masks, d.scratch.stored = resize(d.scratch.masks, masks), resize(d.scratch.stored, stored)
	restMasks, rest := d.scratch.masks, d.scratch.stored
	clear(restMasks)
	clear(rest)
	for i := range d.file.Components {
		c := &d.file.Components[i]
		p := &c.progressive
		masks, stored = c.across*c.down, p.per*p.bounds.Dx()*p.bounds.Dy()
		p.present, restMasks = restMasks[:masks:masks], restMasks[masks:]
		p.stored, rest = rest[:stored:stored], rest[stored:]
	}
}

// of returns the coefficients that are kept of a block; none when nobody wants it.
func (p *coefficients) of(x, y int) []int16 {
	if !(image.Point{X: x, Y: y}).In(p.bounds) {
		return nil
	}
	at := ((y-p.bounds.Min.Y)*p.bounds.Dx() + x - p.bounds.Min.X) * p.per
	return p.stored[at : at+p.per]
}

// checked returns whether the bits were there.
func (w *walk) checked() error {
	if w.bits.overrun() {
		return ErrTruncated
	}
	return nil
}

// firstDC reads the first scan of a DC coefficient (G.1.2.1).
func (w *walk) firstDC(i int, c *Component, x, y int, _ uint8) error {
	w.bits.fill()
	diff, length := w.dc[w.header.dc[i]].difference(w.bits.acc)
	if length == 0 {
		return w.bits.bad()
	}
	w.bits.drop(length)
	w.predicted[i] += diff
	if s := c.progressive.of(x, y); len(s) > 0 {
		s[0] = int16(w.predicted[i] << w.header.low)
	}
	return w.checked()
}

// refineDC reads a further bit of a DC coefficient.
func (w *walk) refineDC(_ int, c *Component, x, y int, _ uint8) error {
	bit := w.bits.take(1)
	if s := c.progressive.of(x, y); len(s) > 0 {
		s[0] |= int16(bit << w.header.low)
	}
	return w.checked()
}

// firstAC reads the first scan of some AC coefficients (G.1.2.2).
func (w *walk) firstAC(i int, c *Component, x, y int, _ uint8) error {
	if w.endOfBand > 0 {
		w.endOfBand--
		return nil
	}
	h, b := w.ac[w.header.ac[i]], &w.bits
	present, stored := &c.progressive.present[y*c.across+x], c.progressive.of(x, y)
	for k := w.header.first; k <= w.header.last; k++ {
		if b.have < 32 {
			b.fill()
		}
		var run int
		var value int32
		if e := h.value[b.acc>>(64-fastBits)]; e>>16 != 0 {
			b.drop(uint(e & 0xff))
			run, value = int(e>>8&0xff)-1, e>>16
		} else {
			symbol, err := b.symbol(h)
			if err != nil {
				return err
			}
			run = int(symbol >> 4)
			size := uint(symbol & 15)
			switch {
			case size > 0:
				value = extend(b.take(size), size)
			case run < 15:
				w.endOfBand = 1<<run - 1
				if run > 0 {
					w.endOfBand += int(b.take(uint(run)))
				}
				return w.checked()
			}
		}
		k += run
		if value != 0 {
			if k > w.header.last {
				return b.bad()
			}
			*present |= 1 << k
			if k < len(stored) {
				stored[k] = int16(value << w.header.low)
			}
		}
	}
	return w.checked()
}

// refineAC reads a further bit of some AC coefficients (G.1.2.3).
func (w *walk) refineAC(i int, c *Component, x, y int, _ uint8) error {
	h, b := w.ac[w.header.ac[i]], &w.bits
	present, stored := &c.progressive.present[y*c.across+x], c.progressive.of(x, y)
	k := w.header.first
	for w.endOfBand == 0 && k <= w.header.last {
		symbol, err := b.symbol(h)
		if err != nil {
			return err
		}
		run, value := int(symbol>>4), int16(0)
		switch size := symbol & 15; {
		case size == 1:
			value = 1 << w.header.low
			if b.take(1) == 0 {
				value = -value
			}
		case size > 1:
			return b.bad()
		case run < 15:
			w.endOfBand = 1 << run
			if run > 0 {
				w.endOfBand += int(b.take(uint(run)))
			}
		}
		if w.endOfBand > 0 {
			break
		}
		k = w.correct(k, run, *present, stored)
		if value != 0 {
			if k > w.header.last {
				return b.bad()
			}
			*present |= 1 << k
			if k < len(stored) {
				stored[k] = value
			}
		}
		k++
	}
	if w.endOfBand > 0 {
		w.endOfBand--
		w.correct(k, 64, *present, stored)
	}
	return w.checked()
}

// correct reads a bit for each coefficient from the k-th on that is known to be other than
// 0, up to the one that follows so many that are 0, whose number it returns; or one more
// than the last of the scan.
func (w *walk) correct(k, zeros int, present uint64, stored []int16) int {
	bit := int16(1) << w.header.low
	for ; k <= w.header.last; k++ {
		if present>>k&1 == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if w.bits.take(1) == 0 || k >= len(stored) {
			continue
		}
		if stored[k] >= 0 {
			stored[k] += bit
		} else {
			stored[k] -= bit
		}
	}
	return k
}

// transformAll makes the planes when all scans are read.
func (d *decoder) transformAll() error {
	var b block
	for i := range d.file.Components {
		c := &d.file.Components[i]
		if c.table == nil {
			continue // no scan of it arrived
		}
		for y := c.firstNeed; y < c.afterLastNeed; y++ {
			if d.ctx.Err() != nil {
				return context.Cause(d.ctx)
			}
			masks := c.rowOfNeeds[:c.across]
			c.needsOfRow(y, masks)
			for x, mask := range masks {
				if mask == 0 {
					continue
				}
				stored := c.progressive.of(x, y)
				clear(b.c[:])
				b.last = bits.Len64(c.progressive.present[y*c.across+x]|1) - 1
				for k, v := range stored[:min(len(stored), b.last+1)] {
					b.c[zigzag[k]] = int32(v) * c.table[k]
				}
				c.put(x, y, mask, &b)
			}
		}
	}
	return nil
}
