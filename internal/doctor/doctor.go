// Package doctor looks at what a build needs of this machine and of the places that it reads and
// writes, and says how to mend what is not well.
//
// What is asked knows the answer itself: the sandboxes try themselves, the store inspects its
// folder, a bucket says with what it is reached. This package asks, weighs the answer by what the
// manifest needs, and has the words. Nothing that is asked changes anything, but for a registry that
// is pushed to, in which something small is put and removed; and each question ends in time.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Status is how something is.
type Status string

// The statuses, from the best to the worst.
const (
	OK      Status = "ok"      // as it should be, or not needed
	Warning Status = "warning" // builds work, and something is lost by it
	Fault   Status = "fault"   // something that the manifest needs does not work
)

// Finding is what was found of one thing.
type Finding struct {
	Name   string // of the thing: "store", "runc", "registry"
	Status Status
	Found  string   // what it is like, in a line without secrets
	Mend   []string // what mends it, a line each: a command, or words that begin with "# "; none when Status is OK
}

// Check is a question, and which thing it is about.
type Check struct {
	Name string
	Ask  func(ctx context.Context) []Finding // of the thing, and of what belongs to it
}

// AnswerWithin is how long a question may take. What hangs (a daemon, a network drive) hangs for
// ever.
const AnswerWithin = 15 * time.Second

// errLate says that a question was not answered in time.
var errLate = errors.New("no answer in time")

// Examine asks everything at once, each for so long at most, and returns the findings in the order
// of the checks. One that is not answered in time is a warning. What a call of the operating system
// holds past its time is not waited for.
func Examine(ctx context.Context, checks []Check, within time.Duration) ([]Finding, error) {
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { found[i] = c.within(ctx, within) })
	}
	all.Wait()
	return slices.Concat(found...), context.Cause(ctx)
}

func (c Check) within(ctx context.Context, limit time.Duration) []Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	answer := make(chan []Finding, 1)
	go func() { answer <- c.Ask(ctx) }()
	select {
	case findings := <-answer:
		return findings
	case <-ctx.Done():
	}
	// It may end by the context itself, and then knows better what it was about.
	select {
	case findings := <-answer:
		return findings
	case <-time.After(grace):
		return []Finding{{
			Name: c.Name, Status: Warning, Found: fmt.Sprintf("no answer within %v", limit),
			Mend: []string{"# see what it hangs on: a daemon, a network drive, a server"},
		}}
	}
}

// grace is how long a question may take to end after its time has.
const grace = time.Second

// Well says whether nothing that the manifest needs is broken.
func Well(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Status == Fault })
}

// ok is a finding that all is well.
func ok(name, format string, args ...any) Finding {
	return Finding{Name: name, Status: OK, Found: fmt.Sprintf(format, args...)}
}

// ill is a finding that something is not.
func ill(name string, status Status, found string, mend ...string) Finding {
	return Finding{Name: name, Status: status, Found: found, Mend: mend}
}

// faultIf is a fault of what is needed, and a warning of what is not.
func faultIf(needed bool) Status {
	if needed {
		return Fault
	}
	return Warning
}
