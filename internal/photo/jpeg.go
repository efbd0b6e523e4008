package photo

import (
	"context"
	"errors"
	"image"

	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

func (f *File) openJPEG() error {
	j, err := jpeg.Parse(f.data)
	if err != nil {
		return jpegError(err)
	}
	if j.Truncated && !f.limits.KeepTruncated {
		return jpegError(jpeg.ErrTruncated)
	}
	f.jpeg, f.Layout, f.profile = j, &j.Layout, profileOf(j.ICC)
	f.Width, f.Height, f.Truncated = j.Width, j.Height, j.Truncated
	f.Orientation = exifOrientation(j.EXIF)
	f.Memory = j.Memory(wholeOf(j), int64(len(f.data)))
	if _, native := nativeRatio(j); !native || f.profile != nil {
		f.Memory += 4 * area(f.Width, f.Height)
	}
	return nil
}

func jpegError(err error) error {
	var unsupported jpeg.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		return &RejectedError{Reason: unsupported.Error()}
	case errors.Is(err, jpeg.ErrTruncated):
		return &RejectedError{Reason: "truncated"}
	}
	return &RejectedError{Reason: "corrupt JPEG", Err: err}
}

// wholeOf is the need of everything.
func wholeOf(j *jpeg.File) []jpeg.Need {
	needs := make([]jpeg.Need, len(j.Components))
	for i, c := range j.Components {
		needs[i] = jpeg.Need{Component: i, Rect: image.Rect(0, 0, c.Width, c.Height), Shrink: 1}
	}
	return needs
}

// nativeRatio returns how chroma is sampled, where package image has the like.
func nativeRatio(j *jpeg.File) (ratio image.YCbCrSubsampleRatio, ok bool) {
	if j.Model == jpeg.Grey {
		return 0, true
	}
	if j.Model != jpeg.YCbCr || j.Sampling[1] != j.Sampling[2] {
		return 0, false
	}
	y, c := j.Sampling[0], j.Sampling[1]
	if y[0]%c[0] != 0 || y[1]%c[1] != 0 {
		return 0, false
	}
	ratio, ok = map[[2]int]image.YCbCrSubsampleRatio{
		{1, 1}: image.YCbCrSubsampleRatio444,
		{1, 2}: image.YCbCrSubsampleRatio440,
		{2, 1}: image.YCbCrSubsampleRatio422,
		{2, 2}: image.YCbCrSubsampleRatio420,
		{4, 1}: image.YCbCrSubsampleRatio411,
		{4, 2}: image.YCbCrSubsampleRatio410,
	}[[2]int{y[0] / c[0], y[1] / c[1]}]
	return ratio, ok
}

// wholeJPEG decodes all of a JPEG.
func (f *File) wholeJPEG(ctx context.Context) (image.Image, error) {
	planes, err := f.jpeg.Decode(ctx, wholeOf(f.jpeg))
	if planes == nil {
		return nil, err
	}
	if err != nil && !(f.limits.KeepTruncated && errors.Is(err, jpeg.ErrTruncated)) {
		planes.Release()
		return nil, jpegError(err)
	}
	bounds := image.Rect(0, 0, f.Width, f.Height)
	ratio, native := nativeRatio(f.jpeg)
	if native && (f.profile == nil || f.jpeg.Model == jpeg.Grey) {
		defer planes.Keep()
		y := planes.Plane(0, 1)
		if f.jpeg.Model == jpeg.Grey {
			return &image.Gray{Pix: y.Pix, Stride: y.Stride, Rect: bounds}, nil
		}
		cb, cr := planes.Plane(1, 1), planes.Plane(2, 1)
		return &image.YCbCr{
			Y: y.Pix, Cb: cb.Pix, Cr: cr.Pix, YStride: y.Stride, CStride: cb.Stride, SubsampleRatio: ratio, Rect: bounds,
		}, nil
	}
	defer planes.Release()
	return f.rgbaOf(planes), nil
}

// rgbaOf puts the components of a JPEG together to colours. Where a component has fewer
// samples than another, the nearest one is taken.
func (f *File) rgbaOf(planes *jpeg.Planes) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, f.Width, f.Height))
	hmax, vmax := f.Layout.MaxSampling()
	rows := make([][]uint8, max(3, len(f.jpeg.Components)))
	for i := range rows {
		rows[i] = make([]uint8, f.Width)
	}
	for y := range f.Height {
		for i, s := range f.Layout.Sampling {
			p := planes.Plane(i, 1)
			from := p.Pix[y*s[1]/vmax*p.Stride:]
			for x := range rows[i] {
				rows[i][x] = from[x*s[0]/hmax]
			}
		}
		toYCbCr(f.jpeg.Model, rows)
		if f.profile != nil {
			f.profile.convert(rows)
		}
		to := img.Pix[y*img.Stride:][:4*f.Width]
		for x := range rows[0] {
			to[4*x], to[4*x+1], to[4*x+2] = rgbOf(rows[0][x], rows[1][x], rows[2][x])
			to[4*x+3] = 255
		}
	}
	return img
}
