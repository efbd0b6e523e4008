//go:build !amd64

package kernels

// assembled returns the sets in assembly that this processor can run: none.
func assembled() []set { return nil }
