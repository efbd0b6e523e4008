// Package disktest opens stores for tests.
package disktest

import (
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// Open opens the store in dir, and closes it when the test ends.
func Open(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
