package wire

import "os"

// Pipe is os.Pipe with room for a chunk, so that who sends one need not wait for who reads it: half as
// much time passes. Where that cannot be had, the pipe is as large as it is.
func Pipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err == nil {
		enlarge(w)
	}
	return r, w, err
}
