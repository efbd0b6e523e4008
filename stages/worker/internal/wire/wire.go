// Package wire carries an order and what becomes of it between two processes of this program, over
// a pair of pipes: net/rpc with gob, in which the process that does the work asks and the one that
// gave the order answers.
package wire

import (
	"errors"
	"io"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// service is the name of the Desk between the processes.
const service = "Desk"

// chunk is how many bytes of a blob travel at once. Most blobs are smaller.
const chunk = 1 << 20

// Nothing is what a call has to say that says nothing: gob knows no empty struct.
type Nothing bool

// Late says that something is to be done although the work is to end: what an interrupted stage puts
// away. Anything else ends with the work.
type Late bool

// Wanted is a blob to be read.
type Wanted struct {
	Digest cas.Digest
	Late   Late
}

// Small is a blob to be stored in one part.
type Small struct {
	Data []byte
	Late Late
}

// Chunk is a part of a blob that is read.
type Chunk struct {
	Data    []byte
	Handle  int // for the next part; none is left when End is set or Failure is
	End     bool
	Failure *Failure
}

// Part is a part of a blob that is written.
type Part struct {
	Handle int
	Data   []byte
}

// Stored says what a blob that was written is called.
type Stored struct {
	Digest  cas.Digest
	Failure *Failure
}

// Question asks which blobs are missing: in the store, or in the part of it that is at hand.
type Question struct {
	Digests []cas.Digest
	Near    bool
	Late    Late
}

// Missing answers a Question.
type Missing struct {
	Digests []cas.Digest
	Failure *Failure
}

// Outcome is what became of an order.
type Outcome struct {
	Done    stages.Done
	Failure *Failure
}

// conn makes one connection of two pipes.
type conn struct {
	io.Reader
	io.Writer
	io.Closer
}

// closers are closed together.
type closers []io.Closer

func (all closers) Close() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
