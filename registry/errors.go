package registry

import (
	"fmt"
	"io/fs"

	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// UnsupportedError says that registries of a scheme can not be opened.
type UnsupportedError struct{ Scheme string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("registries at %s:// are not supported; use s3://bucket, https://host/path to read only, or a folder", e.Scheme)
}

// NotFoundError says that a registry has no such package, tag or revision. It is
// fs.ErrNotExist as well.
type NotFoundError struct {
	Ref      Ref
	Registry string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("%s is not in %s", e.Ref, e.Registry) }

func (e *NotFoundError) Unwrap() error { return fs.ErrNotExist }

// NoPartError says that a revision has neither a file nor a folder at a path. It is
// fs.ErrNotExist as well.
type NoPartError struct {
	Ref  Ref
	Path string
}

func (e *NoPartError) Error() string { return fmt.Sprintf("%s has no %s", e.Ref, e.Path) }

// Unwrap returns fs.ErrNotExist.
func (e *NoPartError) Unwrap() error { return fs.ErrNotExist }

// AmbiguousError says that several revisions start with the digits of a reference.
type AmbiguousError struct {
	Ref     Ref
	Matches []quilt.TopHash // some of them, at least two
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s may be %s or %s: give more digits", e.Ref, e.Matches[0], e.Matches[1])
}

// ConflictError says that another revision became the latest while, or before, a
// revision was pushed on the understanding that Expected was. The revision pushed is
// not the latest; its objects are kept, so that pushing again is cheap.
type ConflictError struct {
	Name     string
	Expected quilt.TopHash // zero: no revision at all
	Found    quilt.TopHash // zero: the package was removed
	Pushed   quilt.TopHash
}

func (e *ConflictError) Error() string {
	state := fmt.Sprintf("latest is %s, not %s", e.Found, e.Expected)
	switch {
	case e.Expected.IsZero():
		state = fmt.Sprintf("the package exists: latest is %s", e.Found)
	case e.Found.IsZero():
		state = fmt.Sprintf("latest is not %s: it was removed", e.Expected)
	}
	return fmt.Sprintf("push %s@%s: %s", e.Name, e.Pushed, state)
}

// DamageError says that something in a registry, or a file that was to go there, is not
// what its hash says, or is missing though something refers to it.
type DamageError = objects.DamageError
