package photo

import (
	"encoding/binary"
	"image"
	"image/color"
	"sync"
)

// profile brings colours that are measured by an ICC profile to sRGB, on whose
// assumption networks are trained.
//
// Profiles of a matrix and three curves are understood (ICC.1:2022, F.3), which is what
// cameras and photo editors embed: Adobe RGB, Display P3, ProPhoto and the like. Others
// (tables for CMYK, Lab or scanners, grey curves) are left out of account: their numbers
// are taken for sRGB, and CMYK for plain inks. So are PNG's gAMA and cHRM.
type profile struct {
	linear [3][256]int32 // light of 0 to 1<<lightBits
	matrix [3][3]int32   // to sRGB's primaries, with matrixBits after the point
	encode *encoding     // encodeSRGB()
}

const (
	lightBits  = 14
	matrixBits = 12
)

// toSRGB is the inverse of the matrix of sRGB's primaries, adapted to D50 as profiles are
// (IEC 61966-2-1; Bradford).
var toSRGB = [3][3]float64{
	{3.1338561, -1.6168667, -0.4906146},
	{-0.9787684, 1.9161415, 0.0334540},
	{0.0719453, -0.2289914, 1.4052427},
}

// Most profiles are one of a few. What they come to takes a tenth of a millisecond to find
// out, and is kept.
var profiles = struct {
	sync.Mutex
	known map[string]*profile // guarded by Mutex
}{known: map[string]*profile{}}

// maxKnown bounds the profiles that are kept, of 3 kB and what their files have.
const maxKnown = 32

// profileOf is newProfile with a memory.
func profileOf(icc []byte) *profile {
	if len(icc) == 0 || len(icc) > 64<<10 {
		return newProfile(icc)
	}
	profiles.Lock()
	defer profiles.Unlock()
	p, ok := profiles.known[string(icc)]
	if !ok {
		if len(profiles.known) >= maxKnown {
			clear(profiles.known)
		}
		p = newProfile(icc)
		profiles.known[string(icc)] = p
	}
	return p
}

// newProfile returns what an embedded profile asks for, or nil when that is nothing: there
// is none, it means sRGB, or it is not one of a matrix.
func newProfile(icc []byte) *profile {
	if len(icc) < 132 || string(icc[16:24]) != "RGB XYZ " {
		return nil
	}
	tags := map[string][]byte{}
	count := binary.BigEndian.Uint32(icc[128:])
	for i := uint64(0); i < uint64(min(count, 100)); i++ {
		at := 132 + 12*i
		if at+12 > uint64(len(icc)) {
			return nil
		}
		from, n := uint64(binary.BigEndian.Uint32(icc[at+4:])), uint64(binary.BigEndian.Uint32(icc[at+8:]))
		if from+n > uint64(len(icc)) {
			return nil
		}
		tags[string(icc[at:at+4])] = icc[from : from+n]
	}
	p := &profile{encode: encodeSRGB()}
	var primaries [3][3]float64
	for i, name := range []string{"r", "g", "b"} {
		xyz := tags[name+"XYZ"]
		if len(xyz) < 20 || string(xyz[:4]) != "XYZ " {
			return nil
		}
		for j := range 3 {
			primaries[j][i] = fixed16(xyz[8+4*j:])
		}
		if !curve(tags[name+"TRC"], &p.linear[i]) {
			return nil
		}
	}
	for i := range 3 {
		for j := range 3 {
			sum := 0.0
			for k := range 3 {
				sum += float64(toSRGB[i][k] * primaries[k][j])
			}
			if sum > 8 || sum < -8 {
				return nil
			}
			p.matrix[i][j] = int32(floor(float64(sum*(1<<matrixBits)) + 0.5))
		}
	}
	if p.isSRGB() {
		return nil
	}
	return p
}

// isSRGB says whether the profile changes no colour of a coarse grid by more than the
// rounding of its numbers may.
func (p *profile) isSRGB() bool {
	const step, most = 51, 3
	for r := 0; r < 256; r += step {
		for g := 0; g < 256; g += step {
			for b := 0; b < 256; b += step {
				r1, g1, b1 := p.of(uint8(r), uint8(g), uint8(b))
				if max(apart(r, r1), apart(g, g1), apart(b, b1)) > most {
					return false
				}
			}
		}
	}
	return true
}

func apart(a int, b uint8) int { return max(a-int(b), int(b)-a) }

// of converts a colour.
func (p *profile) of(r, g, b uint8) (sr, sg, sb uint8) {
	lr, lg, lb := p.linear[0][r], p.linear[1][g], p.linear[2][b]
	light := func(row *[3]int32) uint8 {
		v := (row[0]*lr + row[1]*lg + row[2]*lb + 1<<(matrixBits-1)) >> matrixBits
		return p.encode[max(0, min(v, 1<<lightBits))]
	}
	return light(&p.matrix[0]), light(&p.matrix[1]), light(&p.matrix[2])
}

// convert converts three planes of YCbCr in place.
func (p *profile) convert(planes [][]uint8) {
	a, b, c := planes[0], planes[1], planes[2]
	for i := range a {
		a[i], b[i], c[i] = yCbCrOf(p.of(rgbOf(a[i], b[i], c[i])))
	}
}

// convertImage converts a picture of one of the types that decode returns. A grey one has
// no colours that a profile of colours could mean.
func (p *profile) convertImage(img image.Image) image.Image {
	switch img := img.(type) {
	case *image.Gray:
		return img
	case *image.Paletted:
		for i, c := range img.Palette {
			r, g, b, _ := c.RGBA()
			r1, g1, b1 := p.of(uint8(r>>8), uint8(g>>8), uint8(b>>8))
			img.Palette[i] = color.RGBA{r1, g1, b1, 255}
		}
		return img
	case *image.RGBA:
		for pix := img.Pix; len(pix) >= 4; pix = pix[4:] {
			pix[0], pix[1], pix[2] = p.of(pix[0], pix[1], pix[2])
		}
		return img
	}
	from := img.(*image.YCbCr)
	to := image.NewRGBA(from.Rect)
	for y := from.Rect.Min.Y; y < from.Rect.Max.Y; y++ {
		for x := from.Rect.Min.X; x < from.Rect.Max.X; x++ {
			i, j := from.YOffset(x, y), from.COffset(x, y)
			r, g, b := p.of(rgbOf(from.Y[i], from.Cb[j], from.Cr[j]))
			to.SetRGBA(x, y, color.RGBA{r, g, b, 255})
		}
	}
	return to
}

// fixed16 is an s15Fixed16Number.
func fixed16(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) / 65536 }

// curve reads a curveType or parametricCurveType (10.6 and 10.18).
func curve(tag []byte, to *[256]int32) bool {
	if len(tag) < 12 {
		return false
	}
	var light func(x float64) float64
	switch string(tag[:4]) {
	case "curv":
		n := uint64(binary.BigEndian.Uint32(tag[8:]))
		switch points := tag[12:]; {
		case n == 0:
			light = func(x float64) float64 { return x }
		case uint64(len(points)) < 2*n:
			return false
		case n == 1:
			gamma := float64(binary.BigEndian.Uint16(points)) / 256
			light = func(x float64) float64 { return power(x, gamma) }
		default:
			light = func(x float64) float64 {
				at := float64(x * float64(n-1))
				i := min(int(at), int(n)-2)
				lo, hi := float64(binary.BigEndian.Uint16(points[2*i:])), float64(binary.BigEndian.Uint16(points[2*i+2:]))
				return (lo + float64((at-float64(i))*(hi-lo))) / 65535
			}
		}
	case "para":
		var ok bool
		if light, ok = parametric(tag); !ok {
			return false
		}
	default:
		return false
	}
	for i := range to {
		v := floor(float64(light(float64(i)/255)*(1<<lightBits)) + 0.5)
		if !(v >= 0) {
			v = 0
		}
		to[i] = int32(min(v, 1<<lightBits))
	}
	return true
}

func parametric(tag []byte) (func(x float64) float64, bool) {
	const maxKind = 4
	kind := binary.BigEndian.Uint16(tag[8:])
	if kind > maxKind {
		return nil, false
	}
	n := [...]int{1, 3, 4, 5, 7}[kind]
	if len(tag) < 12+4*n {
		return nil, false
	}
	var p [7]float64 // g a b c d e f
	for i := range n {
		p[i] = fixed16(tag[12+4*i:])
	}
	g, a, b, c, d, e, f := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
	switch kind {
	case 0:
		return func(x float64) float64 { return power(x, g) }, true
	case 1, 2: // below -b/a there is c, and above it is added
		if a == 0 {
			return nil, false
		}
		d, e, f, c = -b/a, c, c, 0
	}
	return func(x float64) float64 {
		if x < d {
			return float64(c*x) + f
		}
		return power(float64(a*x)+b, g) + e
	}, true
}

// encoding is a transfer function for light of 0 to 1<<lightBits.
type encoding [1<<lightBits + 1]uint8

// encodeSRGB returns sRGB's. It takes 2.5 ms to compute, which a start of the program that
// reads no profile does not pay.
var encodeSRGB = sync.OnceValue(func() *encoding {
	var table encoding
	for i := range table {
		v := float64(i) / (1 << lightBits)
		if v <= 0.0031308 {
			v = float64(12.92 * v)
		} else {
			v = float64(1.055*power(v, 1/2.4)) - 0.055
		}
		table[i] = clamp(int(floor(float64(v*255) + 0.5)))
	}
	return &table
})

// power is x to the y for x from 0 to some, to about 12 digits. Package math's is not used
// because its last bits are not the same on every machine; here every product is rounded
// before it is added to.
func power(x, y float64) float64 {
	if !(x > 0) {
		return 0
	}
	exponent := 0.0
	for ; x > 1.4142135623730951; x /= 2 {
		exponent++
	}
	for ; x < 0.7071067811865476; x *= 2 {
		exponent--
	}
	// ln x = 2 artanh z
	z := (x - 1) / (x + 1)
	square, term, sum := float64(z*z), z, 0.0
	for k := 1.0; k < 30; k += 2 {
		sum += term / k
		term = float64(term * square)
	}
	const ln2 = 0.6931471805599453
	binary := float64(y * (exponent + 2*sum/ln2))
	whole := max(-1000, min(floor(binary+0.5), 1000))
	rest := float64((binary - whole) * ln2)
	result, term := 1.0, 1.0
	for k := 1.0; k < 20; k++ {
		term = float64(term*rest) / k
		result += term
	}
	for ; whole > 0; whole-- {
		result *= 2
	}
	for ; whole < 0; whole++ {
		result /= 2
	}
	return result
}
