package folder

import (
	"context"
	"errors"
	"io"
	"sync"
)

// bufferSize is room for most photos, which then take one write.
const bufferSize = 256 << 10

// buffers are shared by all copies: page faults on fresh memory cost more than the copy
// itself on virtual machines.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// copyBytes copies until r ends or ctx does. It writes as rarely as it can.
func copyBytes(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var total int64
	for {
		if err := context.Cause(ctx); err != nil {
			return total, err
		}
		n, err := fill(r, *buf)
		if n > 0 {
			written, writeErr := w.Write((*buf)[:n])
			if total += int64(written); writeErr != nil {
				return total, writeErr
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// fill reads until buf is full or r fails; at its end, with io.EOF.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}
