package drawing

import (
	"github.com/sandwich-build/sandwich/internal/dice"
)

// table covers the canvas with a table top seen with the given tilt.
func (c *canvas) table(d *dice.Dice, tilt float64) {
	kinds := []func(*dice.Dice, float64) paint{planks, gingham, stripes, linen, slate, marble}
	top := dice.Pick(d, kinds)(d.Fork("table", 0), tilt)
	for y := range c.img.Rect.Dy() {
		for x := range c.img.Rect.Dx() {
			col := top(x, y)
			i := c.img.PixOffset(x, y)
			c.img.Pix[i], c.img.Pix[i+1] = mixByte(0, col.r, opaque), mixByte(0, col.g, opaque)
			c.img.Pix[i+2], c.img.Pix[i+3] = mixByte(0, col.b, opaque), 255
		}
	}
}

// plane maps pixels to the table top: turned by an angle, and lengthened towards the
// viewer as the tilt asks. Units are 1/16 pixel.
type plane struct{ sin, cos, tilt int }

func newPlane(angle, tilt float64) plane {
	s, c := sincos(angle)
	return plane{sin: int(float64(s * 4096)), cos: int(float64(c * 4096)), tilt: int(float64(tilt * 4096))}
}

func (p plane) at(x, y int) (u, v int) {
	y = y * 4096 / max(p.tilt, 1024)
	// Far from zero, so that remainders below are never negative.
	return (x*p.cos-y*p.sin)/256 + 1<<20, (x*p.sin+y*p.cos)/256 + 1<<20
}

func planks(d *dice.Dice, tilt float64) paint {
	wood := dice.Pick(d, []colour{hex(0xb98a5a), hex(0x8a5a35), hex(0xd2b48a), hex(0x6b4a33), hex(0xa39a8c)})
	on := newPlane(d.Between(-0.6, 0.6)+float64(halfPi*float64(d.Below(2))), tilt)
	width, key := 16*d.Int(34, 70), d.Uint64()
	return func(x, y int) colour {
		u, v := on.at(x, y)
		board, within := v/width, v%width
		tone := int(hash(key, board, 0) % 25)
		grain := smooth(key+uint64(board), u/24, v/2+u/700, 6) - 128
		col := wood.light(90 + tone + grain/10)
		return col.light(100 - max(0, 45-within)) // the gap between two boards
	}
}

func gingham(d *dice.Dice, tilt float64) paint {
	ink := dice.Pick(d, []colour{hex(0xc0392b), hex(0x2f6f9f), hex(0x3c8f4f), hex(0xd4a017), hex(0x7a5a9a)})
	on := newPlane(d.Between(-0.8, 0.8), tilt)
	side, key := 16*d.Int(12, 26), d.Uint64()
	white := hex(0xf4f1ea)
	return func(x, y int) colour {
		u, v := on.at(x, y)
		t := 128 * (u / side % 2)
		t += 128 * (v / side % 2)
		return white.mix(ink, t*220/256).add(int(hash(key, x, y)%7) - 3)
	}
}

func stripes(d *dice.Dice, tilt float64) paint {
	ink := dice.Pick(d, []colour{hex(0x34495e), hex(0xb5533c), hex(0x5f8a6a), hex(0xc9a14a)})
	ground := dice.Pick(d, []colour{hex(0xefe6d6), hex(0xdfe5e8), hex(0xf7f3ea)})
	on := newPlane(d.Between(-1.5, 1.5), tilt)
	side, key := 16*d.Int(16, 40), d.Uint64()
	return func(x, y int) colour {
		_, v := on.at(x, y)
		col := ground
		if v%side < side/3 {
			col = ink
		}
		return col.add(int(hash(key, x, y)%9) - 4)
	}
}

func linen(d *dice.Dice, tilt float64) paint {
	cloth := dice.Pick(d, []colour{hex(0xd9cdb8), hex(0xb8c4c2), hex(0xc9a9a0), hex(0x7d8a78), hex(0xe9e4da), hex(0x4f5b6b)})
	on := newPlane(d.Between(-0.5, 0.5), tilt)
	key := d.Uint64()
	return func(x, y int) colour {
		u, v := on.at(x, y)
		weave := 3
		if (u/32+v/32)%2 == 0 {
			weave = -3
		}
		fold := smooth(key, u/16, v/48, 60) - 128
		return cloth.add(weave).light(100 + fold/12)
	}
}

func slate(d *dice.Dice, _ float64) paint {
	stone := dice.Pick(d, []colour{hex(0x3b4046), hex(0x54585a), hex(0x2c2d2f), hex(0x5a504a)})
	key := d.Uint64()
	return func(x, y int) colour {
		n := smooth(key, x, y, 37) + smooth(key+1, x, y, 11)/2 - 192
		return stone.add(n/8 + int(hash(key, x, y)%9) - 4)
	}
}

func marble(d *dice.Dice, tilt float64) paint {
	stone := dice.Pick(d, []colour{hex(0xe8e6e2), hex(0xd8d3c8), hex(0xe6dcd4)})
	on := newPlane(d.Between(-1.2, 1.2), tilt)
	key := d.Uint64()
	return func(x, y int) colour {
		u, v := on.at(x, y)
		bend := smooth(key, u/16, v/16, 45) * 9
		vein := (v + bend) % 2600
		t := max(0, 110-max(vein-1300, 1300-vein)/3)
		return stone.mix(hex(0x8d8a88), t*smooth(key+7, u/16, v/16, 60)/255).add(int(hash(key, x, y)%5) - 2)
	}
}

// wall puts a room out of focus behind the table, down to the given row.
func (c *canvas) wall(d *dice.Dice, horizon int) {
	w := float64(c.img.Rect.Dx())
	dark := dice.Pick(d, []colour{hex(0x3a2f2a), hex(0x51606b), hex(0x6b5a48), hex(0x8a9a8a), hex(0xc9bba6)})
	key := d.Uint64()
	area := path{{x: -1, y: -1}, {x: w + 1, y: -1}, {x: w + 1, y: float64(horizon)}, {x: -1, y: float64(horizon)}}
	c.shade(area, opaque, func(x, y int) colour {
		return dark.light(75 + smooth(key, x, y, 70)/5 + y*20/max(horizon, 1))
	})
	for i := range d.Int(4, 12) {
		e := d.Fork("lamp", i)
		r := e.Between(4, 15)
		lamp := path(disc(r, r).shift(e.Between(0, w), e.Between(-5, float64(horizon)-float64(0.8*r))))
		glow := dice.Pick(e, []colour{hex(0xffdf9e), hex(0xffc37a), hex(0xfff2d8), hex(0xc8dcff)})
		c.shade(lamp, e.Int(40, 130), plain(glow))
	}
	// The far edge of the table is lost in the blur.
	for i := range 4 {
		c.shade(band(float64(horizon), float64(2*i+1), w), 60, plain(dark.light(80)))
	}
}

// band is a stripe across the canvas, around a row.
func band(row, half, width float64) path {
	return path{{x: -1, y: row - half}, {x: width + 1, y: row - half}, {x: width + 1, y: row + half}, {x: -1, y: row + half}}
}

// develop gives the finished picture its light: a slant, a tint, a vignette, and the
// noise of a sensor.
func (c *canvas) develop(d *dice.Dice, sun float64) {
	w, h := c.img.Rect.Dx(), c.img.Rect.Dy()
	exposure := d.Int(78, 116)
	slant := int(float64(sun * d.Between(4, 20)))
	edge := d.Int(0, 30)
	tint := [3]int{d.Int(93, 107), 100, d.Int(90, 107)}
	noise, key := d.Int(0, 3), d.Uint64()
	for y := range h {
		for x := range w {
			dx, dy := (2*x-w)*100/w, (2*y-h)*100/h
			light := exposure + slant*dx/100 - edge*(dx*dx+dy*dy)/20000
			n := 0
			if noise > 0 {
				n = int(hash(key, x, y)%uint64(2*noise+1)) - noise
			}
			i := c.img.PixOffset(x, y)
			for ch := range 3 {
				v := int(c.img.Pix[i+ch])*light*tint[ch]/10000 + n
				c.img.Pix[i+ch] = uint8(min(max(v, 0), 255))
			}
		}
	}
}
