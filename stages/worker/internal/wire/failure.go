package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Errors are the errors that arrive as what they are, and not as their text alone: pointers to the
// zero values of types whose fields JSON keeps. Both processes have the same.
type Errors []error

// Failure is an error on its way.
type Failure struct {
	Text   string
	Cause  cause
	Blob   cas.Digest // of a *cas.BlobError
	Known  int        // 1 and more for one of the Errors
	JSON   []byte     // its fields
	Origin int        // 1 and more for one that comes from the desk, and arrives there as itself
}

// cause is an error that is asked for by errors.Is.
type cause int

const (
	other cause = iota
	notExist
	lost
	damaged
	ended
)

var causes = [...]error{other: nil, notExist: fs.ErrNotExist, lost: cas.ErrLost, damaged: cas.ErrDamaged, ended: context.Canceled}

// Fail makes a Failure of an error; nil of nil.
func (known Errors) Fail(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Text: err.Error()}
	if far, ok := errors.AsType[*farError](err); ok {
		f.Origin = far.origin
	}
	for c, e := range causes {
		if e != nil && errors.Is(err, e) {
			f.Cause = cause(c)
		}
	}
	if blob, ok := errors.AsType[*cas.BlobError](err); ok {
		f.Blob = blob.Digest
	}
	for i, e := range known {
		found := reflect.New(reflect.TypeOf(e))
		if !errors.As(err, found.Interface()) {
			continue
		}
		if text, err := json.Marshal(found.Elem().Interface()); err == nil {
			f.Known, f.JSON = i+1, text
		}
	}
	return f
}

// Err makes an error of a Failure; nil of nil.
func (known Errors) Err(f *Failure) error {
	if f == nil {
		return nil
	}
	e := &farError{text: f.Text, origin: f.Origin}
	var c error
	if f.Cause > other && int(f.Cause) < len(causes) {
		c = causes[f.Cause]
	}
	if !f.Blob.IsZero() {
		e.causes = append(e.causes, &cas.BlobError{Digest: f.Blob, Err: c})
	} else if c != nil {
		e.causes = append(e.causes, c)
	}
	if f.Known > 0 && f.Known <= len(known) {
		one := reflect.New(reflect.TypeOf(known[f.Known-1]).Elem())
		if err, ok := one.Interface().(error); ok && json.Unmarshal(f.JSON, err) == nil {
			e.causes = append(e.causes, err)
		}
	}
	return e
}

// farError is an error of the other process.
type farError struct {
	text   string
	causes []error
	origin int // see Failure
}

func (e *farError) Error() string { return e.text }

// Unwrap returns what is known of the causes.
func (e *farError) Unwrap() []error { return e.causes }
