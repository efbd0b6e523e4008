//go:build !amd64

package openimages

// fastPlainRows is nil: there is no assembly for this processor.
var fastPlainRows func(text []byte, last int, rows []plainRow) int
