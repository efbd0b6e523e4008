// Package ui shows a command to whom it concerns: to a person at a terminal, to a log
// that is read later, or to a program. There is one View for each of them; Open is the
// only place that chooses.
//
// The answer of a command goes to standard output, and nothing else does; the story of
// how it came about goes to standard error. For a program both are one stream of JSON
// lines on standard output, which README.md documents.
package ui

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/sandwich-build/sandwich/stages"
)

// View shows one command.
type View interface {
	// Observe shows what happens in a build.
	stages.Observer
	// Close takes down what is live on the screen and shows how the command ended. It
	// returns the first error of writing to standard output.
	Close(End) error
}

// End is how a command ended.
type End struct {
	Command string
	Exit    int
	Summary string   // the story's last line, for a person; empty for none
	Answer  Answer   // nil when there is none
	Problem *Problem // nil when all is well
}

// Answer is what a command was asked for. It also marshals to JSON.
type Answer interface {
	// Text writes the answer as a person or a script reads it. The view takes care of
	// errors of w.
	Text(w io.Writer)
}

// Problem is an error as it is told.
type Problem struct {
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`   // what to do about it
	Items   []string `json:"items,omitempty"`  // the parts of the message, one a line
	Faults  []Fault  `json:"faults,omitempty"` // the faults of a manifest
}

// Fault is a manifest.Fault with names for JSON.
type Fault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Mode says for whom a command is shown.
type Mode string

// The modes. Auto is Terminal when standard error is one that can be redrawn, and Plain
// otherwise.
const (
	Auto     Mode = "auto"
	Terminal Mode = "tty"
	Plain    Mode = "plain"
	JSON     Mode = "json"
)

// String returns the mode's name.
func (m *Mode) String() string { return string(*m) }

// Set parses a mode's name.
func (m *Mode) Set(s string) error {
	switch mode := Mode(s); mode {
	case Auto, Terminal, Plain, JSON:
		*m = mode
		return nil
	}
	return fmt.Errorf("want auto, tty, plain or json")
}

// Type names the values of a mode in help texts.
func (*Mode) Type() string { return "auto|tty|plain|json" }

// Options are what Open chooses by.
type Options struct {
	Mode   Mode
	Quiet  bool                // only warnings and errors
	Stdout io.Writer           // answers; everything in JSON
	Stderr io.Writer           // the story
	Getenv func(string) string // TERM, CI and NO_COLOR are read
	Now    func() time.Time    // for the rate of progress events in JSON
}

// Open returns the view that the options ask for.
func Open(o Options) View {
	var v View
	switch mode := o.resolve(); mode {
	case JSON:
		v = newJSONView(o.Stdout, o.Now)
	case Terminal:
		v = newTerminalView(o.Stdout, o.Stderr, o.Getenv("NO_COLOR") == "")
	default:
		v = &plainView{out: o.Stdout, err: o.Stderr}
	}
	if o.Quiet {
		v = quiet{v}
	}
	return v
}

// resolve turns Auto into what suits standard error. A terminal that continuous
// integration pretends to have is a log that nobody watches.
func (o Options) resolve() Mode {
	if o.Mode != Auto && o.Mode != "" {
		return o.Mode
	}
	f, ok := o.Stderr.(*os.File)
	dumb := o.Getenv("TERM") == "dumb" || o.Getenv("TERM") == ""
	if ok && !dumb && o.Getenv("CI") == "" && term.IsTerminal(int(f.Fd())) {
		return Terminal
	}
	return Plain
}

// quiet is a view that is told of nothing but warnings and failures.
type quiet struct{ View }

// Close implements View.
func (q quiet) Close(end End) error {
	end.Summary = ""
	return q.View.Close(end)
}

func (q quiet) Observe(e stages.Event) {
	switch e := e.(type) {
	case stages.Message:
		if e.Line.Warning {
			q.View.Observe(e)
		}
	case stages.Finished:
		if e.Err != nil {
			q.View.Observe(e)
		}
	}
}
