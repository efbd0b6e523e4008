package jpeg

import (
	"context"
	"errors"
	"fmt"
)

// Planes are what Decode made. Their memory is used again after Release.
type Planes struct {
	file    *File
	scratch *scratch
}

// Plane returns a component at a scale for which there was a Need.
func (p *Planes) Plane(component, shrink int) *Plane {
	return &p.file.Components[component].levels[levelOf(shrink)].plane
}

// Release gives the memory back. The planes must not be used any more.
func (p *Planes) Release() { p.scratch.release() }

// Damage returns ErrTruncated or ErrCorrupt where what a need asked for was not decoded in
// full, and so is grey in part. It does not depend on what else was decoded: a fault below
// all that is needed is none, but in a progressive picture, which is read to its end.
func (p *Planes) Damage(n Need) error {
	c := &p.file.Components[n.Component]
	if c.fault != nil && ceil(n.Rect.Max.Y, 8) > c.faultRow {
		return c.fault
	}
	return nil
}

// Keep gives back all memory but that of the planes.
func (p *Planes) Keep() {
	p.scratch.planes = nil
	p.scratch.release()
}

// Memory is an upper estimate of the bytes that decoding needs of a file of that size
// allocates, the planes included.
func (l *Layout) Memory(needs []Need, size int64) int64 {
	components := make([]Component, len(l.Sampling))
	l.layOut(components)
	want(components, needs)
	total := size + 1<<20 // a copy of the longest scan; tables
	for i := range components {
		c := &components[i]
		total += c.bytes() + int64(c.across*c.V)
		if l.Progressive {
			total += c.coefficientBytes()
		}
	}
	return total
}

// Decode decodes the needs in one pass. It may be called several times, one after the
// other, once the planes of the last call were released.
//
// The error is ErrCorrupt, ErrTruncated or the cause of ctx's end. Beside ErrCorrupt and
// ErrTruncated there are planes all the same, with what was decoded before the fault and
// grey for the rest; see Planes.Damage.
func (f *File) Decode(ctx context.Context, needs []Need) (*Planes, error) {
	want(f.Components, needs)
	d := &decoder{ctx: ctx, file: f, scratch: newScratch()}
	d.bits.data = d.scratch.bits
	d.allocate()
	planes := &Planes{file: f, scratch: d.scratch}
	err := d.segments()
	if f.Progressive && (err == nil || isDamage(err)) {
		err = errors.Join(err, d.transformAll())
	}
	d.scratch.bits = d.bits.data
	switch {
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	case f.Truncated:
		for i := range f.Components {
			if c := &f.Components[i]; c.fault == nil && (f.Progressive || c.table == nil) {
				c.fault, c.faultRow = ErrTruncated, 0
			}
		}
		if err == nil {
			err = ErrTruncated
		}
	}
	switch {
	case err == nil:
		return planes, nil
	case !isDamage(err):
		planes.Release()
		return nil, err
	case !f.Truncated && !f.damaged:
		planes.Release()
		f.damaged = true // what the fault leaves out is to be grey
		return f.Decode(ctx, needs)
	}
	return planes, err
}

// fault notes a fault of all components.
func (f *File) fault(err error) {
	for i := range f.Components {
		f.Components[i].fault, f.Components[i].faultRow = err, 0
	}
}

func isDamage(err error) bool { return errors.Is(err, ErrTruncated) || errors.Is(err, ErrCorrupt) }

// decoder is the state between the segments.
type decoder struct {
	ctx          context.Context
	file         *File
	scratch      *scratch
	bits         bitReader
	dc, ac       [4]*huffman
	quantization [4]*[64]int32 // in zigzag order
	tables       int           // Huffman tables so far
	restart      int           // MCUs between two restart markers, or 0
}

// allocate makes the planes, grey, in one piece of memory.
func (d *decoder) allocate() {
	total := int64(0)
	for i := range d.file.Components {
		total += d.file.Components[i].bytes()
	}
	d.scratch.planes = resize(d.scratch.planes, int(total))
	rest := d.scratch.planes
	if d.file.Truncated || d.file.damaged {
		for i := range rest {
			rest[i] = 128
		}
	}
	for i := range d.file.Components {
		c := &d.file.Components[i]
		c.table, c.fault = nil, nil
		c.rowOfNeeds = resize(c.rowOfNeeds, c.across*c.V)
		for j := range c.levels {
			p := &c.levels[j].plane
			n := p.Rect.Dx() * p.Rect.Dy()
			p.Pix, rest = rest[:n:n], rest[n:]
		}
	}
	if d.file.Progressive {
		d.allocateCoefficients()
	}
}

// segments reads all segments. Of a scan that is damaged the next one knows nothing, unless
// the picture is progressive.
func (d *decoder) segments() (first error) {
	for _, s := range d.file.segments {
		var err error
		switch s.marker {
		case markerDHT:
			err = d.huffmanTables(s.body)
		case markerDQT:
			err = d.quantizationTables(s.body)
		case markerDRI:
			if len(s.body) != 2 {
				err = ErrCorrupt
				break
			}
			d.restart = int(s.body[0])<<8 | int(s.body[1])
		case markerSOS:
			err = d.scan(s)
			if err != nil && isDamage(err) && !d.file.Progressive {
				if first == nil {
					first = err
				}
				err = nil
			}
		}
		if err != nil {
			d.file.fault(err)
			return err
		}
	}
	return first
}

// huffmanTables reads B.2.4.2.
func (d *decoder) huffmanTables(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return ErrCorrupt
		}
		class, number := body[0]>>4, body[0]&15
		var key tableKey
		copy(key.counts[:], body[1:17])
		codes := 0
		for _, n := range key.counts {
			codes += int(n)
		}
		if d.tables++; class > 1 || number > 3 || codes > 256 || len(body) < 17+codes || d.tables > maxTables {
			return ErrCorrupt
		}
		copy(key.values[:], body[17:17+codes])
		body = body[17+codes:]
		table, err := prepare(&key)
		if err != nil {
			return err
		}
		if class == 0 {
			d.dc[number] = table
		} else {
			d.ac[number] = table
		}
	}
	return nil
}

// quantizationTables reads B.2.4.1.
func (d *decoder) quantizationTables(body []byte) error {
	for len(body) > 0 {
		precision, number := body[0]>>4, body[0]&15
		size := 64 << precision
		if precision > 1 || number > 3 || len(body) < 1+size {
			return ErrCorrupt
		}
		t := new([64]int32)
		for k := range t {
			if precision == 0 {
				t[k] = int32(body[1+k])
			} else {
				t[k] = int32(body[1+2*k])<<8 | int32(body[2+2*k])
			}
		}
		d.quantization[number] = t
		body = body[1+size:]
	}
	return nil
}

// scan decodes a scan.
func (d *decoder) scan(s segment) error {
	h, err := d.file.parseScan(s.body)
	if err != nil {
		d.file.fault(err)
		return err
	}
	for _, c := range h.components {
		if c.table == nil { // the table that is there at a component's first scan is its table
			c.table = d.quantization[c.quantization]
		}
	}
	w := &walk{decoder: d, header: h, interleaved: len(h.components) > 1}
	w.across, w.down = d.file.mcusAcross, d.file.mcusDown
	if !w.interleaved {
		w.across, w.down = h.components[0].across, h.components[0].down // A.2.2
	}
	w.last = w.lastRow()
	if w.last == 0 {
		return nil
	}
	row := 0
	decode, err := w.coding()
	if err == nil {
		row, err = w.run(s.scan, decode)
	}
	if err != nil {
		for _, c := range h.components {
			c.fault, c.faultRow = err, row
			if w.interleaved {
				c.faultRow *= c.V
			}
		}
	}
	return err
}

// walk goes through the MCUs of a scan.
type walk struct {
	*decoder
	header       *scanHeader
	interleaved  bool
	across, down int // MCUs
	last         int // the row of MCUs before which all lies that is read
	predicted    [4]int32
	endOfBand    int // blocks that have no coefficients any more (G.1.2.2)
	block        block
}

// lastRow returns how many rows of MCUs there are to read: up to the last that is wanted; all
// of a progressive picture, so that a fault does not depend on what is wanted.
func (w *walk) lastRow() int {
	if w.file.Progressive {
		return w.down
	}
	last := 0
	for _, c := range w.header.components {
		per := 1
		if w.interleaved {
			per = c.V
		}
		last = max(last, ceil(c.afterLastNeed, per))
	}
	return min(last, w.down)
}

// decodeBlock reads a block of the i-th component of the scan.
type decodeBlock func(i int, c *Component, x, y int, mask uint8) error

// run reads MCUs. An error comes with the row that could not be read to its end.
func (w *walk) run(scan []byte, decode decodeBlock) (row int, err error) {
	left, number := 0, 0
	for y := range w.last {
		if w.ctx.Err() != nil {
			return y, context.Cause(w.ctx)
		}
		w.rowOfNeeds(y)
		for x := range w.across {
			if left == 0 {
				if number > 0 && scan == nil {
					return y, ErrTruncated
				}
				marker, rest := w.bits.begin(scan)
				if marker == 0 {
					rest = nil
				} else if marker != markerRST0+byte(number&7) {
					return y, fmt.Errorf("%w: a restart marker out of order", ErrCorrupt)
				}
				scan, number = rest, number+1
				w.predicted, w.endOfBand = [4]int32{}, 0
				left = w.restart
				if left == 0 {
					left = -1
				}
			}
			left--
			if err := w.mcu(x, y, decode); err != nil {
				return y, err
			}
		}
	}
	return 0, nil
}

// rowOfNeeds prepares what is wanted of the blocks of a row of MCUs.
func (w *walk) rowOfNeeds(y int) {
	for _, c := range w.header.components {
		if !w.interleaved {
			c.needsOfRow(y, c.rowOfNeeds[:c.across])
			continue
		}
		for v := range c.V {
			c.needsOfRow(y*c.V+v, c.rowOfNeeds[v*c.across:(v+1)*c.across])
		}
	}
}

func (w *walk) mcu(x, y int, decode decodeBlock) error {
	for i, c := range w.header.components {
		if !w.interleaved {
			if err := decode(i, c, x, y, c.rowOfNeeds[x]); err != nil {
				return err
			}
			continue
		}
		for v := range c.V {
			for h := range c.H {
				bx, by, mask := x*c.H+h, y*c.V+v, uint8(0)
				if bx < c.across && by < c.down {
					mask = c.rowOfNeeds[v*c.across+bx]
				}
				if err := decode(i, c, bx, by, mask); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// coding returns how the blocks of the scan are coded.
func (w *walk) coding() (decodeBlock, error) {
	h := w.header
	for i := range h.components {
		if h.components[i].table == nil || h.first == 0 && h.high == 0 && w.dc[h.dc[i]] == nil || h.last > 0 && w.ac[h.ac[i]] == nil {
			return nil, ErrCorrupt
		}
	}
	switch {
	case !w.file.Progressive:
		return w.sequential, nil
	case h.first == 0 && h.high == 0:
		return w.firstDC, nil
	case h.first == 0:
		return w.refineDC, nil
	case h.high == 0:
		return w.firstAC, nil
	}
	return w.refineAC, nil
}
