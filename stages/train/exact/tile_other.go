package exact

// assembled returns the kernels in assembly that this processor can run, the fastest
// first.
func assembled() []tile { return nil }
