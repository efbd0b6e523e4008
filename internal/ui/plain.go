package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sandwich-build/sandwich/stages"
)

// plainView writes lines for a log. It shows neither time nor progress, so that the
// output of two equal builds is equal to the byte.
type plainView struct {
	out, err io.Writer
}

func (v *plainView) Observe(e stages.Event) {
	switch e := e.(type) {
	case stages.Started:
		v.line(e.Stage, strings.TrimSuffix("running ("+Reasons(e.Why)+")", " ()"))
	case stages.Message:
		text := Printable(e.Line.Text)
		if e.Line.Warning {
			text = "warning: " + text
		}
		v.line(e.Stage, text)
	case stages.Waiting:
		v.line(e.Stage, waiting(e))
	case stages.Finished:
		v.line(e.Stage, outcome(e))
	}
}

// waiting tells for whom a stage waits.
func waiting(e stages.Waiting) string {
	if e.Holder.PID == 0 {
		return "waiting for another build"
	}
	return "waiting for another build (" + Printable(e.Holder.String()) + ")"
}

// outcome is how a stage ended, without the time it took.
func outcome(e stages.Finished) string {
	switch counted := told(e); {
	case errors.Is(e.Err, context.Canceled):
		return "stopped"
	case e.Err != nil:
		return "failed"
	case e.Cached:
		return "cached"
	case counted == "":
		return "done"
	default:
		return "done, " + counted
	}
}

func (v *plainView) line(stage, text string) {
	fmt.Fprintf(v.err, "%s: %s\n", stage, text)
}

// Close shows the problem after the answer, where the eye is.
func (v *plainView) Close(end End) error { return closeText(v.out, v.err, style{}, end) }

func closeText(out, err io.Writer, s style, end End) error {
	if end.Summary != "" {
		fmt.Fprintln(err, Printable(end.Summary))
	}
	answer := bufio.NewWriter(out) // keeps the first error
	if end.Answer != nil {
		end.Answer.Text(answer)
	}
	failure := answer.Flush()
	writeProblem(err, s, end.Problem)
	return failure
}
