package blob

import "fmt"

// TrialError says what a store did not let be done when writing to it was tried.
type TrialError struct {
	Doing string // "put", "read back", "replace", "remove"
	Works bool   // what is put works all the same
	Err   error
}

func (e *TrialError) Error() string { return fmt.Sprintf("try to write: %s: %v", e.Doing, e.Err) }

// Unwrap returns the cause.
func (e *TrialError) Unwrap() error { return e.Err }
