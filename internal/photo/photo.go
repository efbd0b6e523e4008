// Package photo decodes pictures that strangers made.
//
// A data set is downloaded from the web, so every byte is hostile until proven
// harmless: a tiny file may unfold to gigabytes, a page of HTML may be called .jpg,
// a download may have been cut short. Open looks at the header alone and says what
// decoding would cost; Decode does it. Whatever is wrong with a picture comes back as
// a *RejectedError with a short reason that is the same in every run; nothing panics.
//
// JPEG (also the first picture of an MPO), PNG, GIF (first frame), WebP, TIFF and BMP
// are recognised by their content, never by a name.
//
// Decoded pictures are opaque: transparent pixels are laid on white. Colours are sRGB; an
// embedded profile is applied where it is one of a matrix and curves. They are in the
// orientation in which they are stored; Orientation says how to turn them.
//
// Decode makes a whole picture. Cut makes small pictures of parts, which is much faster.
// Equal bytes give equal pixels on every machine.
package photo

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"

	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

// Limits bound what Open accepts. They are checked before any pixel is decoded.
type Limits struct {
	Bytes  int64 // size of the file
	Side   int   // pixels of the longer side
	Pixels int64 // width times height
	Memory int64 // bytes that decoding may hold, the file included

	// KeepTruncated takes a JPEG that was cut short. What it lacks is grey in what Decode
	// returns, and told of by Cut. Other formats are refused all the same.
	KeepTruncated bool
}

// DefaultLimits let every photo of Open Images pass and keep decoding, one photo at
// a time or several within a Budget of the same size, below 256 MiB for the whole
// process: what is left is for the runtime and the pictures cut from the photo.
func DefaultLimits() Limits {
	return Limits{Bytes: 64 << 20, Side: 32768, Pixels: 100 << 20, Memory: 192 << 20}
}

// RejectedError says why a picture is not used. Reason is short, the same in every run
// and free of the wording of any decoder; Err, which may be nil, is what the decoder
// said.
type RejectedError struct {
	Reason string
	Err    error
}

// Error returns the reason, and what the decoder said if it said something.
func (r *RejectedError) Error() string {
	if r.Err == nil {
		return r.Reason
	}
	return r.Reason + ": " + r.Err.Error()
}

// Unwrap returns the decoder's error.
func (r *RejectedError) Unwrap() error { return r.Err }

func reject(format string, args ...any) error {
	return &RejectedError{Reason: fmt.Sprintf(format, args...)}
}

// Header is what is known of a picture before it is decoded.
type Header struct {
	Format        Format
	Width, Height int         // pixels as stored, before Orientation is applied
	Orientation   Orientation // from EXIF; Upright when there is none or it makes no sense
	Bytes         int64       // size of the file
	Memory        int64       // upper estimate of the bytes held by Decode, the file included

	// Truncated says that a JPEG was cut short.
	Truncated bool `json:",omitempty"`

	// Layout is a JPEG's, of which not everything need be decoded; nil for other formats.
	Layout *jpeg.Layout `json:",omitempty"`
}

// File is a picture whose header was read and found acceptable.
type File struct {
	Header
	data    []byte
	limits  Limits
	jpeg    *jpeg.File // nil for other formats
	profile *profile   // nil when there is none to apply
}

// Open reads the header of the picture in data, which must not change until the last
// call of Decode. It decodes nothing, and answers with a *RejectedError when the picture
// exceeds limits, is cut short or cannot be decoded for a reason that the header shows.
func Open(data []byte, limits Limits) (_ *File, err error) {
	if int64(len(data)) > limits.Bytes {
		return nil, reject("too many bytes: %d", len(data))
	}
	format, err := sniff(data)
	if err != nil {
		return nil, err
	}
	defer rejectPanic(format, &err)
	f := &File{data: data, limits: limits}
	if format == JPEG {
		err = f.openJPEG()
	} else {
		var icc []byte
		f.Header, icc, err = codecs[format].header(data)
		if f.profile = profileOf(icc); f.profile != nil {
			f.Memory += 4 * area(f.Width, f.Height)
		}
	}
	if err != nil {
		return nil, err
	}
	f.Format = format
	if f.Orientation == 0 {
		f.Orientation = Upright
	}
	f.Bytes = int64(len(data))
	f.Memory += f.Bytes
	if err := f.check(limits); err != nil {
		return nil, err
	}
	return f, nil
}

func (h *Header) check(limits Limits) error {
	switch {
	case h.Width <= 0 || h.Height <= 0:
		return reject("no pixels: %dx%d", h.Width, h.Height)
	case h.Width > limits.Side || h.Height > limits.Side:
		return reject("too long a side: %dx%d", h.Width, h.Height)
	case int64(h.Width)*int64(h.Height) > limits.Pixels:
		return reject("too many pixels: %dx%d", h.Width, h.Height)
	case h.Layout == nil && h.Memory > limits.Memory:
		return h.tooLarge()
	}
	return nil
}

func (h *Header) tooLarge() error {
	return reject("too much memory to decode: %dx%d %s", h.Width, h.Height, h.Format)
}

// Decode decodes the picture as it is stored; its bounds begin at (0, 0). The result
// is an opaque *image.YCbCr, *image.Gray, *image.RGBA or *image.Paletted with 256
// colours. The error is a *RejectedError, or the cause of ctx's end.
func (f *File) Decode(ctx context.Context) (img image.Image, err error) {
	if f.Memory > f.limits.Memory {
		return nil, f.tooLarge()
	}
	defer rejectPanic(f.Format, &err)
	if f.jpeg != nil {
		return f.wholeJPEG(ctx)
	}
	img, err = f.decode(ctx)
	if err != nil || f.profile == nil {
		return img, err
	}
	return f.profile.convertImage(img), nil
}

// decode decodes a picture that is no JPEG, and leaves its colours as they are.
func (f *File) decode(ctx context.Context) (image.Image, error) {
	img, err := codecs[f.Format].decode(newReader(ctx, f.data))
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, decodeError(f.Format, err)
	}
	canvas := image.Rect(0, 0, f.Width, f.Height)
	switch {
	case img.Bounds() == canvas:
	case f.Format == GIF && img.Bounds().In(canvas):
		img = onCanvas(img, canvas)
	default:
		return nil, reject("corrupt %s", f.Format)
	}
	return opaque(img), nil
}

// decodeError sorts the errors of the decoders into the few reasons that a person can
// do something with.
func decodeError(format Format, err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return &RejectedError{Reason: "truncated", Err: err}
	case isUnsupported(err):
		return &RejectedError{Reason: "unsupported kind of " + format.String(), Err: err}
	}
	return &RejectedError{Reason: "corrupt " + format.String(), Err: err}
}

// rejectPanic is deferred around the decoders: one that panics on a damaged picture
// must not take the build along.
func rejectPanic(format Format, err *error) {
	if p := recover(); p != nil {
		*err = &RejectedError{Reason: "corrupt " + format.String(), Err: fmt.Errorf("decoder panicked: %v", p)}
	}
}

// Decode decodes the picture in data and turns it upright as its EXIF orientation
// says. It is Open, File.Decode and Orientation.Turn in one.
func Decode(ctx context.Context, data []byte, limits Limits) (image.Image, error) {
	f, err := Open(data, limits)
	if err != nil {
		return nil, err
	}
	img, err := f.Decode(ctx)
	if err != nil {
		return nil, err
	}
	return f.Orientation.Turn(img), nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// newReader reads data until ctx ends: a decoder cannot be told to stop, but it stops
// when its input does.
func newReader(ctx context.Context, data []byte) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if len(data) == 0 {
			return 0, io.EOF
		}
		n := copy(p, data)
		data = data[n:]
		return n, nil
	})
}
