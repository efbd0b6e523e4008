package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// How a layer may be compressed.
const (
	Plain     = ""
	Gzip      = "gzip"
	Zstandard = "zstd"
)

// Compression tells how a layer is compressed by its first bytes: media types say it too, and not always
// the truth.
func Compression(layer *bufio.Reader) (string, error) {
	magic, err := layer.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic[:]):
		return Gzip, nil
	case bytes.Equal(magic, zstdMagic):
		return Zstandard, nil
	}
	return Plain, nil
}

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// maxWindow bounds the memory that a decoder of Zstandard takes; the format's own advice is 8 MiB.
const maxWindow = 128 << 20

// Decompress returns the archive of a layer. end is called when it is not read any more.
func Decompress(layer io.Reader) (archive io.Reader, end func(), err error) {
	buffered := bufio.NewReaderSize(layer, 64<<10)
	how, err := Compression(buffered)
	if err != nil {
		return nil, nil, err
	}
	switch how {
	case Gzip:
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { _ = z.Close() }, nil // which tells nothing that reading has not told
	case Zstandard:
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return buffered, func() {}, nil
}
