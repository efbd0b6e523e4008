//go:build !amd64

package exact

// assembled returns the kernels in assembly that this processor can run: none.
func assembled() []kernels { return nil }
