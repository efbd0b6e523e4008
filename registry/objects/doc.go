// Package objects keeps the bytes of a registry's files in a blob store: it knows where
// they lie, sends those that are not there yet, and reads them, which verifies them.
//
// Where a bucket keeps versions, a file lies under its name, as Quilt puts it. Anywhere
// else it lies under its hash, so that the next revision overwrites nothing.
package objects

import (
	"fmt"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// Prefix is what the keys of the bytes that lie under their hash start with:
// .sandwich/objects/<hh>/<hash>.
const Prefix = ".sandwich/objects/"

// Store is the bytes of a registry's files.
type Store struct {
	Blobs blob.Store
	Home  Home
	Pace  *transfer.Pace // of what is moved, unless a caller has another one
}

// DamageError says that something in a registry, or a file that was to go there, is not
// what its hash says, or is missing though something refers to it.
type DamageError struct {
	Object string // its key
	Err    error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Object, e.Err) }

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }
