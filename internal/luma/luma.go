// Package luma measures pictures by their brightness. It computes in whole numbers, so that
// a picture has the same measures on every machine.
package luma

import (
	"image"
	"image/color"
	"math"
)

// Plane is a small picture of luminance alone, 0 to 255, row by row.
type Plane struct {
	Width, Height int
	Pix           []uint8
}

// Shrink returns the luminance of the part r of a picture, which must not be empty, at
// another size: each pixel is the mean of the area that it covers. Memory is for a row of
// the picture and for the result.
func Shrink(img image.Image, r image.Rectangle, width, height int) Plane {
	p := Plane{Width: width, Height: height, Pix: make([]uint8, width*height)}
	rows := newRows(img, r)
	sums, row := make([]uint64, width), make([]uint64, width)
	// In units in which each side of the picture has as many as both sizes multiplied,
	// every edge of a pixel, old or new, stands at a whole number.
	area := uint64(r.Dx()) * uint64(r.Dy())
	out := 0
	for y := range r.Dy() {
		shrinkRow(row, rows.at(r.Min.Y+y), width)
		top, bottom := y*height, (y+1)*height
		for top < bottom {
			edge := min(bottom, (out+1)*r.Dy())
			for x, v := range row {
				sums[x] += v * uint64(edge-top)
			}
			if edge == (out+1)*r.Dy() {
				for x, v := range sums {
					p.Pix[out*width+x] = uint8((v + area/2) / area)
				}
				clear(sums)
				out++
			}
			top = edge
		}
	}
	return p
}

// shrinkRow sums up the pixels below each of width new ones, weighed by how much of
// len(pix) units of each is covered.
func shrinkRow(sums []uint64, pix []uint8, width int) {
	n := len(pix)
	for x := range sums {
		from, to := x*n, (x+1)*n
		first, last := from/width, (to-1)/width
		if first == last {
			sums[x] = uint64(pix[first]) * uint64(n)
			continue
		}
		var whole uint64
		for _, v := range pix[first+1 : last] {
			whole += uint64(v)
		}
		sums[x] = whole*uint64(width) + uint64(pix[first])*uint64((first+1)*width-from) + uint64(pix[last])*uint64(to-last*width)
	}
}

// Within is Shrink to the picture's own proportions, with the longer side not longer than
// side. It does not enlarge.
func Within(img image.Image, r image.Rectangle, side int) Plane {
	longer := max(r.Dx(), r.Dy())
	if longer <= side {
		return Shrink(img, r, r.Dx(), r.Dy())
	}
	scaled := func(n int) int { return max(1, (2*n*side+longer)/(2*longer)) }
	return Shrink(img, r, scaled(r.Dx()), scaled(r.Dy()))
}

// Deviation is the standard deviation of the luminance.
func (p Plane) Deviation() float64 {
	var m moments
	for _, v := range p.Pix {
		m.add(int64(v))
	}
	return math.Sqrt(m.variance())
}

// Sharpness is the variance of the Laplacian, four times a pixel less its neighbours
// (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000). It is 0
// for a picture that has no pixel with four neighbours.
func (p Plane) Sharpness() float64 {
	var m moments
	for y := 1; y < p.Height-1; y++ {
		for x := 1; x < p.Width-1; x++ {
			i := y*p.Width + x
			m.add(4*int64(p.Pix[i]) - int64(p.Pix[i-1]) - int64(p.Pix[i+1]) - int64(p.Pix[i-p.Width]) - int64(p.Pix[i+p.Width]))
		}
	}
	return m.variance()
}

// moments sum up whole numbers. The sums of 2^24 Laplacians still are exact.
type moments struct{ n, sum, squares int64 }

func (m *moments) add(v int64) {
	m.n++
	m.sum += v
	m.squares += v * v
}

func (m *moments) variance() float64 {
	if m.n == 0 {
		return 0
	}
	mean := float64(m.sum) / float64(m.n)
	return float64(m.squares)/float64(m.n) - float64(mean*mean) // rounded before it is subtracted, on every processor
}

// Colour is the mean distance of the part r of a picture from grey, |Cb-128| + |Cr-128|.
func Colour(img image.Image, r image.Rectangle) float64 {
	var sum, n int64
	switch img := img.(type) {
	case *image.Gray:
		return 0
	case *image.YCbCr:
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				i := img.COffset(x, y)
				sum += distance(img.Cb[i]) + distance(img.Cr[i])
			}
		}
	default:
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				c := color.YCbCrModel.Convert(img.At(x, y)).(color.YCbCr)
				sum += distance(c.Cb) + distance(c.Cr)
			}
		}
	}
	n = int64(r.Dx()) * int64(r.Dy())
	return float64(sum) / float64(n)
}

func distance(chroma uint8) int64 { return max(int64(chroma)-128, 128-int64(chroma)) }

// rows reads the luminance of a part of a picture row by row.
type rows struct {
	img image.Image
	r   image.Rectangle
	buf []uint8 // of one row, where the picture does not have it as it is
	lut []uint8 // the luminance of the colours of a palette
}

func newRows(img image.Image, r image.Rectangle) *rows {
	s := &rows{img: img, r: r}
	switch img := img.(type) {
	case *image.YCbCr, *image.Gray:
		return s
	case *image.Paletted:
		for _, c := range img.Palette {
			s.lut = append(s.lut, of(c))
		}
	}
	s.buf = make([]uint8, r.Dx())
	return s
}

// at returns a row, which is valid until the next one is asked for.
func (s *rows) at(y int) []uint8 {
	switch img := s.img.(type) {
	case *image.YCbCr:
		return img.Y[img.YOffset(s.r.Min.X, y):][:s.r.Dx()]
	case *image.Gray:
		return img.Pix[img.PixOffset(s.r.Min.X, y):][:s.r.Dx()]
	case *image.Paletted:
		for x, c := range img.Pix[img.PixOffset(s.r.Min.X, y):][:s.r.Dx()] {
			s.buf[x] = s.lut[c]
		}
	case *image.RGBA:
		pix := img.Pix[img.PixOffset(s.r.Min.X, y):]
		for x := range s.buf {
			s.buf[x], _, _ = color.RGBToYCbCr(pix[4*x], pix[4*x+1], pix[4*x+2])
		}
	default:
		for x := range s.buf {
			s.buf[x] = of(img.At(s.r.Min.X+x, y))
		}
	}
	return s.buf
}

func of(c color.Color) uint8 { return color.YCbCrModel.Convert(c).(color.YCbCr).Y }
