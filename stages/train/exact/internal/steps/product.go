package steps

import (
	"slices"
	"unsafe"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

const (
	// longest is how many steps of the depth are done in one go: with a panel of B of
	// that depth, 24 KB, a tile's rows still fit the first-level cache. What is longer
	// is cut into blocks of depth. Between, the sums wait in memory: same chain, same
	// bits.
	longest, depth = 384, 128
	// group is how many tiles are done with a panel before the next.
	group = 16
	// block is how many panels a unit of work has.
	block = 8
	// enough units keep all workers busy to the end.
	enough = 32
	// small is how large B may be, in bytes, to be packed once for all: half of a
	// second-level cache. What is larger is packed where it is used, panel by panel.
	small = 256 << 10
)

// product is a contraction of float32, tile by tile. B is packed into panels: as many
// columns as a tile has, side by side for each step of the depth.
type product struct {
	*Contraction
	tile         kernels.Tile
	aRow, aDepth []int32 // in bytes; aRow is filled up to whole tiles
	cRow         []int32 // as aRow
	out          []int32 // rows of a tile in scratch, in bytes
	sideBySide   []bool  // for each panel: its columns lie so in B
	direct       []bool  // for each panel: a tile's row can be stored to C as it is
	panels       int
	group, block int
	depth        int
	packed       program.Slot // B, if it is packed once
	once         bool
}

func newProduct(t *Contraction, p *Plan) *product {
	m := &product{Contraction: t, tile: p.Kernels.Tile(len(t.BCol))}
	m.aDepth = inBytes(t.ADepth)
	m.setRows(t.ARow, t.CRow)
	for i := range m.tile.Rows {
		m.out = append(m.out, int32(i*m.tile.Cols*4))
	}
	m.panels = (len(t.BCol) + m.tile.Cols - 1) / m.tile.Cols
	for i := range m.panels {
		last := min((i+1)*m.tile.Cols, len(t.BCol))
		m.sideBySide = append(m.sideBySide, consecutive(t.BCol[i*m.tile.Cols:last]))
		m.direct = append(m.direct, (i+1)*m.tile.Cols == last && consecutive(t.CCol[i*m.tile.Cols:last]))
	}
	m.depth = len(m.aDepth)
	if m.depth > longest {
		m.depth = depth
	}
	m.once = m.packedSize() <= small
	return m
}

// setRows fills rows up to whole tiles with the last one, which is then computed, and
// stored, more than once.
func (m *product) setRows(a, c []int32) {
	m.aRow, m.cRow = inBytes(a), inBytes(c)
	for last := len(a) - 1; len(m.aRow)%m.tile.Rows != 0; {
		m.aRow, m.cRow = append(m.aRow, m.aRow[last]), append(m.cRow, m.cRow[last])
	}
}

func (m *product) packedSize() int {
	return len(m.BBatch) * m.panels * len(m.aDepth) * m.tile.Cols * 4
}

func (m *product) tiles() int { return len(m.aRow) / m.tile.Rows }

// share chooses how much of C is a unit of work. B, if it is packed where it is used, is
// better packed for many rows: then there are only as many units as there are workers.
func (m *product) share(workers int) {
	most, least, units := group, group/2, enough
	if !m.once {
		most, least, units = 4*group, 1, workers
	}
	m.group, m.block = min(most, m.tiles()), min(block, m.panels)
	for m.block > 1 && m.units() < units {
		m.block = (m.block + 1) / 2
	}
	for m.group > least && m.units() < units {
		m.group = (m.group + 1) / 2
	}
}

func (m *product) groups() int { return (m.tiles() + m.group - 1) / m.group }

func (m *product) blocks() int { return (m.panels + m.block - 1) / m.block }

func (m *product) units() int { return len(m.ABatch) * m.groups() * m.blocks() }

func (m *product) plan(p *Plan) {
	m.share(p.Workers)
	touches := []program.Slot{m.A, m.B, m.C}
	if m.once {
		touches = append(touches, m.packOnce(p))
	}
	band := program.Band{}
	if cols := len(m.CCol); m.blocks() == 1 && len(m.CBatch) == 1 && consecutive(m.CCol) && dense(m.CRow, cols) {
		band = program.Band{Slot: m.C, Elements: m.group * m.tile.Rows * cols, Total: len(m.CRow) * cols}
	}
	p.DoBand(band, m.units(), 1, m.work, touches...)
}

// packOnce plans the packing of all of B.
func (m *product) packOnce(p *Plan) program.Slot {
	m.packed = p.Temporary(m.packedSize())
	panels := len(m.BBatch) * m.panels
	p.Do(panels, Elements/(len(m.aDepth)*m.tile.Cols), func(r *program.Run, _ *program.Scratch, lo, hi int) {
		size := len(m.aDepth) * m.tile.Cols
		for i := lo; i < hi; i++ {
			m.pack(program.Values[float32](r, m.packed, panels*size)[i*size:], r.At(m.B), i/m.panels, i%m.panels, 0, len(m.aDepth))
		}
	}, m.B, m.packed)
	return m.packed
}

// pack copies some steps of a panel to where the kernels want them. Columns that are not
// there are 0.
func (m *product) pack(to []float32, from unsafe.Pointer, batch, panel, first, steps int) {
	cols := m.BCol[panel*m.tile.Cols : min((panel+1)*m.tile.Cols, len(m.BCol))]
	whole := m.sideBySide[panel] && len(cols) == m.tile.Cols
	for i, o := range m.BDepth[first : first+steps] {
		line := to[i*m.tile.Cols:][:m.tile.Cols]
		base := unsafe.Add(from, int(m.BBatch[batch]+o)*4)
		if whole {
			copyLine(unsafe.Pointer(&line[0]), unsafe.Add(base, int(cols[0])*4), m.tile.Cols)
			continue
		}
		for j, o := range cols {
			line[j] = *(*float32)(unsafe.Add(base, int(o)*4))
		}
		clear(line[len(cols):])
	}
}

// copyLine copies a line of a panel. By way of a variable it needs no call: the compiler
// sees that the two do not overlap.
func copyLine(dst, src unsafe.Pointer, n int) {
	for ; n > 0; n -= 16 {
		line := *(*[16]float32)(src)
		*(*[16]float32)(dst) = line
		dst, src = unsafe.Add(dst, 64), unsafe.Add(src, 64)
	}
}

// work computes units of C.
func (m *product) work(r *program.Run, s *program.Scratch, lo, hi int) {
	for i := lo; i < hi; i++ {
		first, panel, batch := i%m.groups()*m.group, i/m.groups()%m.blocks()*m.block, i/m.groups()/m.blocks()
		m.rectangle(r, s, part{
			a: unsafe.Add(r.At(m.A), int(m.ABatch[batch])*4), c: unsafe.Add(r.At(m.C), int(m.CBatch[batch])*4), batch: batch,
			tile: first, tiles: min(m.group, m.tiles()-first), panel: panel, panels: min(m.block, m.panels-panel),
		})
	}
}

// part is a rectangle of a product's tiles.
type part struct {
	a, c          unsafe.Pointer
	batch         int
	tile, tiles   int
	panel, panels int
}

// scratchSize is what a rectangle needs: sums of tiles that cannot be stored to C
// directly, and a block of a panel.
func (m *product) scratchSize(tiles, panels int) int {
	return (tiles*panels*m.tile.Rows + m.depth) * m.tile.Cols * 4
}

func (m *product) rectangle(r *program.Run, s *program.Scratch, at part) {
	size := m.tile.Rows * m.tile.Cols
	memory := unsafe.Slice((*float32)(s.At(m.scratchSize(at.tiles, at.panels))), m.scratchSize(at.tiles, at.panels)/4)
	sums, packed := memory[:at.tiles*at.panels*size], memory[at.tiles*at.panels*size:]
	p := kernels.Product{A: at.a}
	for from := 0; from < len(m.aDepth); from += m.depth {
		p.K, p.Steps = min(m.depth, len(m.aDepth)-from), &m.aDepth[from]
		for i := range at.panels {
			panel := at.panel + i
			if m.once {
				p.B = unsafe.Add(r.At(m.packed), ((at.batch*m.panels+panel)*len(m.aDepth)+from)*m.tile.Cols*4)
			} else {
				m.pack(packed, r.At(m.B), at.batch, panel, from, p.K)
				p.B = unsafe.Pointer(&packed[0])
			}
			for j := range at.tiles {
				row := (at.tile + j) * m.tile.Rows
				p.Rows = &m.aRow[row]
				if m.direct[panel] {
					p.C, p.Out = unsafe.Add(at.c, int(m.CCol[panel*m.tile.Cols])*4), &m.cRow[row]
				} else {
					p.C, p.Out = unsafe.Pointer(&sums[(i*at.tiles+j)*size]), &m.out[0]
				}
				m.tile.Run(&p)
			}
		}
		p.More = 1
	}
	for i := range at.panels {
		if !m.direct[at.panel+i] {
			m.store(sums[i*at.tiles*size:], at, at.panel+i)
		}
	}
}

// store brings the sums of a panel to C, element by element.
func (m *product) store(sums []float32, at part, panel int) {
	cols := m.CCol[panel*m.tile.Cols : min((panel+1)*m.tile.Cols, len(m.CCol))]
	rows := m.cRow[at.tile*m.tile.Rows:][:at.tiles*m.tile.Rows]
	for i, o := range rows {
		for j, c := range cols {
			*(*float32)(unsafe.Add(at.c, int(o)+int(c)*4)) = sums[i*m.tile.Cols+j]
		}
	}
}

// rowsFrom returns the product for other rows, of the same operands, in a part of C that
// begins at 0: what is done again and again with another beginning.
func (m *product) rowsFrom(a []int32) *product {
	strip := *m
	c := make([]int32, len(a))
	for i := range c {
		c[i] = int32(i * len(m.CCol))
	}
	strip.setRows(a, c)
	strip.CCol = slices.Clone(m.CCol)
	return &strip
}
