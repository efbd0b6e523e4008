package drawing

// colour is a colour in sRGB, each channel 0 to 255. Arithmetic may leave the range;
// it is clamped when it reaches the canvas.
type colour struct{ r, g, b int }

// hex returns the colour written as 0xrrggbb.
func hex(rgb int) colour {
	return colour{rgb >> 16 & 0xff, rgb >> 8 & 0xff, rgb & 0xff}
}

// mix goes from c to d by t of 256.
func (c colour) mix(d colour, t int) colour {
	return colour{c.r + (d.r-c.r)*t/256, c.g + (d.g-c.g)*t/256, c.b + (d.b-c.b)*t/256}
}

// light multiplies by percent of 100: less is darker, more is brighter.
func (c colour) light(percent int) colour {
	return colour{c.r * percent / 100, c.g * percent / 100, c.b * percent / 100}
}

// add changes all channels by n.
func (c colour) add(n int) colour {
	return colour{c.r + n, c.g + n, c.b + n}
}

// mixByte puts colour channel c over channel under with a cover of 256.
func mixByte(under, c, cover int) uint8 {
	c = min(max(c, 0), 255)
	return uint8((under*(256-cover) + c*cover) >> 8)
}

// plain paints one colour.
func plain(c colour) paint {
	return func(int, int) colour { return c }
}

// grain paints a colour with noise of ±amplitude in each pixel and soft blotches of
// about the given size in pixels.
func grain(c colour, key uint64, amplitude, blotch int) paint {
	return func(x, y int) colour {
		n := int(hash(key, x, y)%uint64(2*amplitude+1)) - amplitude
		return c.add(n/2 + (smooth(key, x, y, blotch)-128)*amplitude/96)
	}
}

// smooth is noise without edges: 0 to 255, bilinear between the corners of a grid of
// cells that are size pixels wide.
func smooth(key uint64, x, y, size int) int {
	x, y = x+1<<16, y+1<<16 // so that the division below always rounds down
	cx, cy := x/size, y/size
	fx, fy := x%size*256/size, y%size*256/size
	corner := func(dx, dy int) int { return int(hash(key, cx+dx, cy+dy) & 0xff) }
	top := corner(0, 0)*(256-fx) + corner(1, 0)*fx
	bottom := corner(0, 1)*(256-fx) + corner(1, 1)*fx
	return (top*(256-fy) + bottom*fy) >> 16
}

// hash is a counter-based draw for a pixel, cheap enough for every pixel of a picture.
func hash(key uint64, x, y int) uint64 {
	h := key ^ uint64(x)*0x9e3779b97f4a7c15 ^ uint64(y)*0xc2b2ae3d27d4eb4f
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>32
}
