package ui

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/sandwich-build/sandwich/stages"
)

// stageWidth is the column of stage names: the longest of them, and a space more.
const stageWidth = 10

// terminalView draws one live line for the stage that is at work, and leaves a line for
// each one that ended.
type terminalView struct {
	out, err io.Writer
	style    style
	live     *live // nil when nothing is at work
}

func newTerminalView(out, err io.Writer, colour bool) *terminalView {
	return &terminalView{out: out, err: err, style: style{colour}}
}

func (v *terminalView) Observe(e stages.Event) {
	switch e := e.(type) {
	case stages.Started:
		v.line(" ", e.Stage, v.style.dim(Reasons(e.Why)))
		v.show(stages.Progress{Stage: e.Stage})
	case stages.Progress:
		v.show(e)
	case stages.Message:
		v.message(e)
	case stages.Waiting:
		v.line(" ", e.Stage, waiting(e))
	case stages.Finished:
		v.clear()
		v.finished(e)
	}
}

func (v *terminalView) message(e stages.Message) {
	mark, text := " ", Printable(e.Line.Text)
	if e.Line.Warning {
		mark = v.style.yellow("!")
	}
	v.line(mark, e.Stage, text)
}

func (v *terminalView) finished(e stages.Finished) {
	took := "   " + v.style.dim(rounded(e.Elapsed).String())
	switch {
	case e.Err != nil:
		v.line(v.style.red("✗"), e.Stage, outcome(e)+took)
	case e.Cached:
		v.line("=", e.Stage, v.style.dim("cached"))
	default:
		v.line(v.style.green("✓"), e.Stage, told(e)+took)
	}
}

// rounded drops the digits that nobody compares.
func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// line writes a line that stays, above the live one.
func (v *terminalView) line(mark, stage, text string) {
	line := fmt.Sprintf("%s %-*s%s\n", mark, stageWidth, stage, text)
	if v.live != nil {
		if _, err := io.WriteString(v.live.container, line); err == nil {
			return
		}
	}
	_, _ = io.WriteString(v.err, line) // a screen that is gone is no reason to end a build
}

// show makes the live line tell of p.
func (v *terminalView) show(p stages.Progress) {
	if v.live == nil || !v.live.continues(p) {
		v.clear()
		v.live = newLive(v.err, p)
	}
	v.live.update(p)
}

// clear takes the live line down.
func (v *terminalView) clear() {
	if v.live != nil {
		v.live.close()
		v.live = nil
	}
}

// Close implements View.
func (v *terminalView) Close(end End) error {
	v.clear()
	return closeText(v.out, v.err, v.style, end)
}

// live is the line of a stage at work.
type live struct {
	container *mpb.Progress
	bar       *mpb.Bar
	last      stages.Progress
	shown     atomic.Pointer[stages.Progress] // last, for the goroutine that draws
}

// redrawInterval is how often the live line is drawn; faster is not read.
const redrawInterval = 150 * time.Millisecond

// newLive draws a line that suits p: a bar when the total is known, a spinner otherwise.
func newLive(w io.Writer, p stages.Progress) *live {
	container := mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithRefreshRate(redrawInterval))
	name := decor.Name(fmt.Sprintf("  %-*s", stageWidth, p.Stage))
	l := &live{container: container, last: p}
	l.shown.Store(&p)
	count := decor.Any(func(s decor.Statistics) string { return tally(s, *l.shown.Load()) })
	rate := newRate(time.Now(), p)
	speed := decor.Any(func(s decor.Statistics) string {
		return rate.at(time.Since(rate.start), s.Current-(l.shown.Load().There-p.There), s.Current, s.Total)
	})
	options := []mpb.BarOption{mpb.PrependDecorators(name, count), mpb.BarRemoveOnComplete()}
	var filler mpb.BarFillerBuilder = mpb.SpinnerStyle().PositionLeft()
	if p.Total > 0 {
		filler = mpb.BarStyle().Lbound("[").Rbound("]").Filler("=").Tip(">").Padding(" ")
		options = append(options, mpb.BarWidth(30))
	}
	options = append(options, mpb.AppendDecorators(speed))
	// A bar made without a total never ends by itself: a stage that has counted all its
	// items may still have work to do.
	l.bar = container.New(0, filler, options...)
	l.bar.SetTotal(p.Total, false)
	return l
}

// continues tells whether p is about the same work as before, so that the rate holds.
func (l *live) continues(p stages.Progress) bool {
	return p.Stage == l.last.Stage && p.Unit == l.last.Unit &&
		(p.Total > 0) == (l.last.Total > 0) && p.Done >= l.last.Done
}

func (l *live) update(p stages.Progress) {
	if p.Total != l.last.Total {
		l.bar.SetTotal(p.Total, false)
	}
	l.bar.SetCurrent(p.Done)
	l.last = p
	l.shown.Store(&p)
}

// close erases the line and waits until nothing is drawn any more.
func (l *live) close() {
	l.bar.Abort(true)
	l.container.Wait()
}

// tally is how much is done of how much.
func tally(s decor.Statistics, p stages.Progress) string {
	switch {
	case p.Unit == "":
		return ""
	case p.AllFiles > 1:
		return fmt.Sprintf("%s / %s, %s / %s files", amount(s.Current, p.Unit), amount(s.Total, p.Unit), Count(int64(p.Files)), Count(int64(p.AllFiles)))
	case s.Total > 0:
		return suffixed(amount(s.Current, p.Unit)+" / "+amount(s.Total, p.Unit), p.Unit)
	default:
		return suffixed(amount(s.Current, p.Unit), p.Unit)
	}
}

func suffixed(text, unit string) string {
	if unit == UnitBytes {
		return text
	}
	return text + " " + Printable(unit)
}

// rate tells how fast a stage is, and when it will be done, from what it did since a
// start: what was done before it (a download that goes on) says nothing about speed.
type rate struct {
	start time.Time
	first int64
	unit  string
}

func newRate(start time.Time, p stages.Progress) rate {
	return rate{start: start, first: p.Done, unit: p.Unit}
}

// at is the rate and the time that is left after elapsed, or nothing when it is too
// early to tell. Of what is done only moved took time.
func (r rate) at(elapsed time.Duration, moved, done, total int64) string {
	if elapsed < time.Second || moved <= r.first {
		return ""
	}
	perSecond := float64(moved-r.first) / elapsed.Seconds()
	text := fmt.Sprintf("%.1f/s", perSecond)
	if perSecond >= 10 || r.unit == UnitBytes {
		text = amount(int64(perSecond), r.unit) + "/s"
	}
	if total > done {
		left := time.Duration(float64(total-done) / perSecond * float64(time.Second))
		text += "  ETA " + left.Round(time.Second).String()
	}
	return text
}
