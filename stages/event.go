package stages

import (
	"sync"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Event is something that happened in a build: Started, Progress, Message, Waiting or
// Finished.
type Event interface{ event() }

// Observer is told what happens. Observe is called by one goroutine at a time and must
// return quickly.
type Observer interface{ Observe(Event) }

// Started says that a stage began to run. It is not sent for a cached stage.
type Started struct {
	Stage  string
	Action cas.Digest
	Why    []string // what differs from the stage's last run; see Plan
}

// Progress says how far a stage is.
type Progress struct {
	Stage       string
	Done, Total int64 // Total is 0 when it is not known
	Unit        string

	// Files of AllFiles are done, where Unit is bytes of files whose number is known.
	Files, AllFiles int
	// There is how much of Done was done before: it says nothing about speed.
	There int64
}

// Message is a line that a stage told the person. The messages of a cached stage are
// part of its result and are not sent again.
type Message struct {
	Stage string
	Line  cas.Line
}

// Waiting says that another process is running the same action.
type Waiting struct {
	Stage  string
	Action cas.Digest
	Holder cas.Holder // zero when it is not known
}

// Finished says that a stage ended. Cached tells that it did not have to run; Err that
// it ended without a result.
type Finished struct {
	Stage   string
	Action  cas.Digest
	Cached  bool
	Result  cas.Result
	Work    []Work // of a stage that ran
	Elapsed time.Duration
	Err     error
}

func (Started) event()  {}
func (Progress) event() {}
func (Message) event()  {}
func (Waiting) event()  {}
func (Finished) event() {}

// Discard is an Observer that ignores everything.
var Discard Observer = discard{}

type discard struct{}

func (discard) Observe(Event) {}

// serial lets one goroutine at a time through to an observer.
type serial struct {
	mu   sync.Mutex // guards next, which need not be safe for concurrent use
	next Observer
}

func (s *serial) Observe(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.Observe(e)
}
