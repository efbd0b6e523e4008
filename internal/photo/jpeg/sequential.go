package jpeg

// sequential reads a block of a baseline or extended scan (F.2.2): as many coefficients
// as the levels of mask need, and over the rest it skips. Nearly all of the time that a crop
// takes is spent here. So the reader's state is in local variables, and bits are loaded once
// for two looks at a table, of which each takes at most 31.
func (w *walk) sequential(i int, c *Component, x, y int, mask uint8) error {
	dc, ac := w.dc[w.header.dc[i]], w.ac[w.header.ac[i]]
	b := &w.bits
	data, at, acc, have := b.data, b.at, b.acc, b.have

	acc |= load(data, at) >> (have & 63)
	at += int((63 - have) >> 3)
	have |= 56
	diff, length := dc.difference(acc)
	if length == 0 {
		return b.bad()
	}
	acc <<= length & 63
	have -= length
	w.predicted[i] += diff

	k := 0
	to := &w.block
	if last := lastOf[mask&15]; last > 0 {
		clear(to.c[:])
		to.last = 0
		for k < last {
			if have < 32 {
				acc |= load(data, at) >> (have & 63)
				at += int((63 - have) >> 3)
				have |= 56
			}
			e := ac.value[acc>>(64-fastBits)]
			if e == 0 {
				var length uint
				if e, length = ac.long(acc); length == 0 {
					return b.bad()
				}
				acc <<= length & 63
				have -= length
			} else {
				acc <<= e & 63
				have -= uint(e & 63)
			}
			k += int(e >> 8 & 0xff)
			if k > 63 {
				break
			}
			to.c[zigzag[k]] = e >> 16 * c.table[k]
			to.last = k
		}
	}
	for k < 63 {
		acc |= load(data, at) >> (have & 63)
		at += int((63 - have) >> 3)
		have |= 56
		e := uint32(ac.skip[acc>>(64-skipBits)])
		next := k + int(e>>8)
		if e != 0 && next&(blockEnd-1) < 63 {
			acc <<= e & 63
			have -= uint(e & 63)
			k = next
			if k >= 63 {
				break
			}
			e = uint32(ac.skip[acc>>(64-skipBits)])
			next = k + int(e>>8)
			if e != 0 && next&(blockEnd-1) < 63 {
				acc <<= e & 63
				have -= uint(e & 63)
				k = next
				continue
			}
		}
		one := uint32(ac.value[acc>>(64-fastBits)])
		length := uint(one & 63)
		if one == 0 {
			var long int32
			if long, length = ac.long(acc); length == 0 {
				return b.bad()
			}
			one = uint32(long)
		}
		acc <<= length & 63
		have -= length
		k += int(one >> 8 & 0xff)
	}
	b.at, b.acc, b.have = at, acc, have
	switch {
	case b.overrun():
		return ErrTruncated
	case k > 63 && k < blockEnd:
		return ErrCorrupt
	}
	if mask != 0 {
		to.c[0] = w.predicted[i] * c.table[0]
		if k == 0 || mask == 8 {
			to.last = 0
		}
		c.put(x, y, mask, to)
	}
	return nil
}
