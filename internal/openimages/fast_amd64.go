package openimages

import "golang.org/x/sys/cpu"

//go:generate go run ./generate -out plain_amd64.s -stubs plain_amd64.go -pkg openimages

// fastPlainRows is portablePlainRows in assembly, and nil on processors that it does not run on.
var fastPlainRows = func() func([]byte, int, []plainRow) int {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasBMI1 || !cpu.X86.HasBMI2 {
		return nil
	}
	return func(text []byte, last int, rows []plainRow) int {
		return plainRowsAVX2(&text[0], last, &rows[0].from, len(rows))
	}
}()
