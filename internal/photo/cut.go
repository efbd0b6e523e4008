package photo

import (
	"context"
	"image"
	"image/draw"
	"sync"

	"github.com/sandwich-build/sandwich/internal/photo/internal/kernels"
	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

// Cut is a part of a photo as it is stored, and the size that it is brought to.
type Cut struct {
	Region image.Rectangle // not empty, and within the photo
	Size   image.Point     // at least a pixel each
}

// CutMemory is an upper estimate of the bytes that Cut holds for cuts of the photo, the
// file and a picture included.
func (h *Header) CutMemory(cuts []Cut) int64 {
	var most int64
	var needs []jpeg.Need
	for _, c := range cuts {
		work := 4 * area(c.Size.X, c.Size.Y)                                                  // up to four components
		work += area(c.Size.X, c.Region.Dy()) + 16*int64(max(c.Region.Dx(), c.Region.Dy())+1) // and resampling
		if h.Layout == nil {
			work += 3 * area(c.Region.Dx(), c.Region.Dy())
		} else {
			needs = append(needs, needsOf(h.Layout, c)...)
		}
		most = max(most, work)
	}
	if h.Layout == nil {
		return h.Memory + most
	}
	return h.Bytes + h.Layout.Memory(needs, h.Bytes) + most
}

// Cut makes the pictures of cuts, in one pass over the photo, and hands each of them to use
// with the number of its cut. They are as the photo is stored, in the full range of JPEG's
// colours, with as many samples of chroma as of luma; their memory is used again when use
// returns. Of a JPEG nothing is decoded but what the cuts need, and at the smallest scale
// that is large enough; see package jpeg. A cut comes out equal whichever cuts are made
// with it.
//
// A JPEG may be damaged at some place. A cut that reaches there comes with a *RejectedError
// as its damage; what there is of it is in the picture, with grey for the rest.
//
// The error is a *RejectedError, the cause of ctx's end, or the first error of use.
func (f *File) Cut(ctx context.Context, cuts []Cut, use func(i int, img *image.YCbCr, damage error) error) (err error) {
	defer rejectPanic(f.Format, &err)
	if f.CutMemory(cuts) > f.limits.Memory {
		return f.tooLarge()
	}
	var model jpeg.Model
	var componentsOf func(c Cut) []component
	damage := func(Cut) error { return nil }
	if f.jpeg != nil {
		planes, err := f.jpeg.Decode(ctx, f.needs(cuts))
		if planes == nil {
			return err
		}
		defer planes.Release()
		model, componentsOf = f.jpeg.Model, func(c Cut) []component { return f.components(planes, c) }
		if err != nil {
			damage = func(c Cut) error { return f.damage(planes, c) }
		}
	} else {
		img, err := f.decode(ctx)
		if err != nil {
			return err
		}
		model = modelOf(img)
		componentsOf = func(c Cut) []component { return imageComponents(img, c.Region) }
	}
	work := workPool.Get().(*work)
	defer work.release()
	for i, c := range cuts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := use(i, work.picture(model, componentsOf(c), f.profile, c), damage(c)); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) needs(cuts []Cut) []jpeg.Need {
	var needs []jpeg.Need
	for _, c := range cuts {
		needs = append(needs, needsOf(f.Layout, c)...)
	}
	return needs
}

// components returns those of a JPEG, at the scales for a cut.
func (f *File) components(planes *jpeg.Planes, c Cut) []component {
	hmax, vmax := f.Layout.MaxSampling()
	components := make([]component, len(f.Layout.Sampling))
	for i, n := range needsOf(f.Layout, c) {
		p, s := planes.Plane(i, n.Shrink), f.Layout.Sampling[i]
		components[i] = component{
			pix: p.Pix, stride: p.Stride, rect: p.Rect, size: p.Size,
			perX: ratio{s[0], hmax * n.Shrink}, perY: ratio{s[1], vmax * n.Shrink},
		}
	}
	return components
}

// damage returns why a cut of a JPEG lacks something, or nil.
func (f *File) damage(planes *jpeg.Planes, c Cut) error {
	for _, n := range needsOf(f.Layout, c) {
		if err := planes.Damage(n); err != nil {
			return jpegError(err)
		}
	}
	return nil
}

// Fit returns the cut of the whole photo whose longer side is at most of that length.
func (h *Header) Fit(side int) Cut {
	longer := max(h.Width, h.Height, side)
	return Cut{
		Region: image.Rect(0, 0, h.Width, h.Height),
		Size:   image.Point{X: max(1, h.Width*side/longer), Y: max(1, h.Height*side/longer)},
	}
}

// needsOf returns what a cut needs of each component of a JPEG: the smallest scale at which
// it still has as many samples as the cut is to have.
func needsOf(l *jpeg.Layout, c Cut) []jpeg.Need {
	hmax, vmax := l.MaxSampling()
	needs := make([]jpeg.Need, len(l.Sampling))
	for i, s := range l.Sampling {
		x := scaled(c.Region.Min.X, c.Region.Max.X, ratio{s[0], hmax})
		y := scaled(c.Region.Min.Y, c.Region.Max.Y, ratio{s[1], vmax})
		shrink := 8
		for shrink > 1 && (c.Region.Dx()*s[0] < c.Size.X*hmax*shrink || c.Region.Dy()*s[1] < c.Size.Y*vmax*shrink) {
			shrink /= 2
		}
		needs[i] = jpeg.Need{Component: i, Rect: image.Rect(x.first, y.first, x.after, y.after), Shrink: shrink}
	}
	return needs
}

// Resize returns a picture brought to a size, with the filter of Cut, and with as many
// samples of chroma as of luma. Transparent parts are laid on black.
func Resize(img image.Image, size image.Point) *image.YCbCr {
	bounds := img.Bounds()
	native := bounds.Min == image.Point{}
	switch img.(type) {
	case *image.Gray, *image.YCbCr, *image.RGBA, *image.Paletted:
	default:
		native = false
	}
	if !native {
		rgba := image.NewRGBA(image.Rectangle{Max: bounds.Size()})
		draw.Draw(rgba, rgba.Rect, img, bounds.Min, draw.Src)
		img = rgba
	}
	c := Cut{Region: img.Bounds(), Size: size}
	return new(work).picture(modelOf(img), imageComponents(img, c.Region), nil, c)
}

// work is memory that cuts use one after the other.
type work struct {
	turned       []uint8 // see resize
	across, down weights
	scratch      kernels.Scratch
	planes       []uint8
}

// maxPooled bounds a buffer that is kept for the next photo.
const maxPooled = 4 << 20

var workPool = sync.Pool{New: func() any { return new(work) }}

func (w *work) release() {
	if cap(w.turned) <= maxPooled && cap(w.planes) <= maxPooled {
		workPool.Put(w)
	}
}

// grown returns s with n elements, whatever they are.
func grown(s []uint8, n int) []uint8 {
	if cap(s) < n {
		return make([]uint8, n)
	}
	return s[:n]
}

// picture makes the picture of a cut of its components.
func (w *work) picture(model jpeg.Model, components []component, p *profile, c Cut) *image.YCbCr {
	n := c.Size.X * c.Size.Y
	planes := make([][]uint8, max(3, len(components)))
	w.planes = grown(w.planes, n*len(planes))
	for i := range planes {
		planes[i] = w.planes[i*n : (i+1)*n : (i+1)*n]
	}
	for i := range components {
		components[i].resize(planes[i], c, w)
	}
	toYCbCr(model, planes)
	if p != nil {
		p.convert(planes)
	}
	return &image.YCbCr{
		Y: planes[0], Cb: planes[1], Cr: planes[2], YStride: c.Size.X, CStride: c.Size.X,
		SubsampleRatio: image.YCbCrSubsampleRatio444, Rect: image.Rectangle{Max: c.Size},
	}
}
