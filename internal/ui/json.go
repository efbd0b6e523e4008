package ui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// progressInterval is the least time between two progress events of one stage: a stage
// reports every item, which a program neither needs nor wants to parse.
const progressInterval = time.Second

// The events as they are written. README.md is their documentation; fields are added
// to them, never renamed or removed.
type (
	startedEvent struct {
		Event  string   `json:"event"`
		Stage  string   `json:"stage"`
		Action string   `json:"action"`
		Why    []string `json:"why"`
	}
	progressEvent struct {
		Event string `json:"event"`
		Stage string `json:"stage"`
		Done  int64  `json:"done"`
		Total int64  `json:"total,omitempty"`
		Unit  string `json:"unit"`

		Files    int `json:"files,omitempty"`
		AllFiles int `json:"all_files,omitempty"`
	}
	messageEvent struct {
		Event string `json:"event"`
		Stage string `json:"stage"`
		Level string `json:"level"`
		Text  string `json:"text"`
	}
	waitingEvent struct {
		Event  string      `json:"event"`
		Stage  string      `json:"stage"`
		Action string      `json:"action"`
		Holder *cas.Holder `json:"holder,omitempty"`
	}
	finishedEvent struct {
		Event    string           `json:"event"`
		Stage    string           `json:"stage"`
		Action   string           `json:"action"`
		Status   string           `json:"status"`
		Tree     string           `json:"tree,omitempty"`
		Counters map[string]int64 `json:"counters,omitempty"`
		Log      []cas.Line       `json:"log,omitempty"`
		Work     []stages.Work    `json:"work,omitempty"`
		Seconds  float64          `json:"seconds"`
		Error    *Problem         `json:"error,omitempty"`
	}
	resultEvent struct {
		Event   string   `json:"event"`
		Command string   `json:"command"`
		Exit    int      `json:"exit"`
		Answer  Answer   `json:"answer,omitempty"`
		Error   *Problem `json:"error,omitempty"`
	}
)

// jsonView writes one event a line.
type jsonView struct {
	enc      *json.Encoder
	err      error // the first error of writing
	now      func() time.Time
	progress map[string]time.Time // when a progress event of a stage was last written
}

func newJSONView(w io.Writer, now func() time.Time) *jsonView {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &jsonView{enc: enc, now: now, progress: map[string]time.Time{}}
}

func (v *jsonView) Observe(e stages.Event) {
	switch e := e.(type) {
	case stages.Started:
		v.write(startedEvent{Event: "started", Stage: e.Stage, Action: e.Action.String(), Why: e.Why})
	case stages.Progress:
		if now := v.now(); now.Sub(v.progress[e.Stage]) >= progressInterval {
			v.progress[e.Stage] = now
			v.write(progressEvent{Event: "progress", Stage: e.Stage, Done: e.Done, Total: e.Total, Unit: e.Unit, Files: e.Files, AllFiles: e.AllFiles})
		}
	case stages.Message:
		level := "info"
		if e.Line.Warning {
			level = "warning"
		}
		v.write(messageEvent{Event: "message", Stage: e.Stage, Level: level, Text: e.Line.Text})
	case stages.Waiting:
		w := waitingEvent{Event: "waiting", Stage: e.Stage, Action: e.Action.String()}
		if e.Holder.PID != 0 {
			e.Holder.Since = e.Holder.Since.UTC()
			w.Holder = &e.Holder
		}
		v.write(w)
	case stages.Finished:
		v.write(finished(e))
	}
}

func finished(e stages.Finished) finishedEvent {
	f := finishedEvent{
		Event: "finished", Stage: e.Stage, Action: e.Action.String(),
		Status: "ran", Seconds: e.Elapsed.Seconds(),
	}
	switch {
	case errors.Is(e.Err, context.Canceled):
		f.Status, f.Error = "stopped", &Problem{Message: e.Err.Error()}
		return f
	case e.Err != nil:
		f.Status, f.Error = "failed", &Problem{Message: e.Err.Error()}
		return f
	case e.Cached:
		f.Status = "cached"
	}
	f.Tree, f.Counters, f.Log, f.Work = e.Result.Tree.String(), e.Result.Counters, e.Result.Log, e.Work
	return f
}

func (v *jsonView) Close(end End) error {
	v.write(resultEvent{Event: "result", Command: end.Command, Exit: end.Exit, Answer: end.Answer, Error: end.Problem})
	return v.err
}

func (v *jsonView) write(event any) {
	if err := v.enc.Encode(event); err != nil && v.err == nil {
		v.err = err
	}
}
