package kernels

import "unsafe"

// The size of the portable tile; the rows have no meaning for its speed.
const portableRows, portableCols = 4, 16

// Rows of sums may lie in the same place, if they are the same row: so all are read
// before any is written.
func portableTile(p *Product) {
	rows, out := unsafe.Slice(p.Rows, portableRows), unsafe.Slice(p.Out, portableRows)
	panel := unsafe.Slice((*float32)(p.B), p.K*portableCols)
	var sums [portableRows][portableCols]float32
	if p.More != 0 {
		for i, o := range out {
			sums[i] = *(*[portableCols]float32)(unsafe.Add(p.C, o))
		}
	}
	for i, row := range rows {
		sum := &sums[i]
		for step, offset := range unsafe.Slice(p.Steps, p.K) {
			x := *(*float32)(unsafe.Add(p.A, int(row)+int(offset)))
			for j, y := range panel[step*portableCols:][:portableCols] {
				sum[j] = FMA(x, y, sum[j])
			}
		}
	}
	for i, o := range out {
		*(*[portableCols]float32)(unsafe.Add(p.C, o)) = sums[i]
	}
}

func float32At(base unsafe.Pointer, offset int32, i int) *float32 {
	return (*float32)(unsafe.Add(base, int(offset)+4*i))
}

func portableMaxWindow(dst, from unsafe.Pointer, inside *int32, count, n int) {
	d, offsets := unsafe.Slice((*float32)(dst), n), unsafe.Slice(inside, count)
	for i := range d {
		most := *float32At(from, offsets[0], i)
		for _, o := range offsets[1:] {
			x := *float32At(from, o, i)
			if most > x || most != most { // the second finds NaN
				x = most
			}
			most = x
		}
		d[i] = most
	}
}

func portableWinner(number, from unsafe.Pointer, inside *int32, count, n int) {
	d, offsets := unsafe.Slice((*uint8)(number), n), unsafe.Slice(inside, count)
	for i := range d {
		best, most := 0, *float32At(from, offsets[0], i)
		for k, o := range offsets[1:] {
			if x := *float32At(from, o, i); x > most {
				best, most = k+1, x
			}
		}
		d[i] = uint8(best)
	}
}

func portableSpread(to, number, source unsafe.Pointer, inside *int32, count, n int) {
	offsets, numbers := unsafe.Slice(inside, count), unsafe.Slice((*uint8)(number), n)
	for i, x := range unsafe.Slice((*float32)(source), n) {
		*float32At(to, offsets[numbers[i]], i) += x
	}
}

func portableSumRows(acc, from unsafe.Pointer, rows *int32, count, n int) {
	sums := unsafe.Slice((*float32)(acc), n)
	for _, o := range unsafe.Slice(rows, count) {
		for i, x := range unsafe.Slice(float32At(from, o, 0), n) {
			sums[i] += x
		}
	}
}

func portableLanes(dst, a, b unsafe.Pointer, aSteps, bSteps *int32, k, n int) {
	sums, bOffsets := unsafe.Slice((*float32)(dst), n), unsafe.Slice(bSteps, k)
	clear(sums)
	for j, o := range unsafe.Slice(aSteps, k) {
		y := unsafe.Slice(float32At(b, bOffsets[j], 0), n)
		for i, x := range unsafe.Slice(float32At(a, o, 0), n) {
			sums[i] = FMA(x, y[i], sums[i])
		}
	}
}

func portableReLU(dst, a, _, _ unsafe.Pointer, n int) {
	d := unsafe.Slice((*float32)(dst), n)
	for i, v := range unsafe.Slice((*float32)(a), n) {
		if !(v > 0) { // NaN too
			v = 0
		}
		d[i] = v
	}
}
