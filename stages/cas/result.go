package cas

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
)

// Result is what an action produced. One without a Tree is of an action that has not come
// to its end, or whose output was lost: Items tells how far it has come.
type Result struct {
	Tree     TreeID
	Items    TreeID           // what the items of the stage came to; zero when it has none
	Printed  TreeID           // what a program of the stage printed; zero when it ran none
	Counters map[string]int64 // what the stage counted: images, boxes, dead, …
	Log      []Line           // what the stage told the person, in order
}

// Trees returns the trees that the result names.
func (r Result) Trees() []TreeID {
	return slices.DeleteFunc([]TreeID{r.Tree, r.Items, r.Printed}, TreeID.IsZero)
}

// Line is one line that a stage told the person.
type Line struct {
	Warning bool   `json:"warning,omitempty"`
	Text    string `json:"text"`
}

// report is the part of a Result that the Remote Execution API has no field for; it
// travels as the action's standard output.
type report struct {
	Counters map[string]int64 `json:"counters,omitempty"`
	Log      []Line           `json:"log,omitempty"`
}

// The paths of Items and Printed among an ActionResult's output directories. The path of
// Tree is empty.
const (
	itemsPath   = "items"
	printedPath = "printed"
)

// MarshalBinary returns the result as an ActionResult, whose output directories are the
// tree, the items and what was printed.
func (r Result) MarshalBinary() ([]byte, error) {
	out, err := json.Marshal(report{Counters: r.Counters, Log: r.Log})
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	p := &repb.ActionResult{StdoutRaw: out}
	if !r.Tree.IsZero() {
		p.OutputDirectories = append(p.OutputDirectories, &repb.OutputDirectory{RootDirectoryDigest: r.Tree.root.proto()})
	}
	if !r.Items.IsZero() {
		p.OutputDirectories = append(p.OutputDirectories, &repb.OutputDirectory{Path: itemsPath, RootDirectoryDigest: r.Items.root.proto()})
	}
	if !r.Printed.IsZero() {
		p.OutputDirectories = append(p.OutputDirectories, &repb.OutputDirectory{Path: printedPath, RootDirectoryDigest: r.Printed.root.proto()})
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(p)
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (r *Result) UnmarshalBinary(data []byte) error {
	p := new(repb.ActionResult)
	if err := proto.Unmarshal(data, p); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	var read Result
	for _, d := range p.GetOutputDirectories() {
		root, err := fromProto(d.GetRootDirectoryDigest())
		if err != nil {
			return fmt.Errorf("result: %w", err)
		}
		switch d.GetPath() {
		case "":
			read.Tree = TreeID{root}
		case itemsPath:
			read.Items = TreeID{root}
		case printedPath:
			read.Printed = TreeID{root}
		default:
			return fmt.Errorf("result: output directory %q: %w", d.GetPath(), fs.ErrInvalid)
		}
	}
	var rep report
	if err := json.Unmarshal(p.GetStdoutRaw(), &rep); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	read.Counters, read.Log = rep.Counters, rep.Log
	*r = read
	return nil
}

// EncodeResult returns the text of a result's file: a checksum in a line of its own, a
// line with the action, and the result. The checksum covers the action too, so that
// a file under a wrong name answers for nobody.
func EncodeResult(action Digest, r Result) ([]byte, error) {
	body, err := r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	signed := append(fmt.Appendf(nil, "%s %d\n", action.Hex(), action.Size()), body...)
	return append(fmt.Appendf(nil, "%x\n", sha256.Sum256(signed)), signed...), nil
}

// DecodeResult reads what EncodeResult wrote; ok is false when it is damaged.
func DecodeResult(data []byte) (action Digest, r Result, ok bool) {
	sum, signed, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != fmt.Sprintf("%x", sha256.Sum256(signed)) {
		return Digest{}, Result{}, false
	}
	line, body, _ := bytes.Cut(signed, []byte("\n"))
	action, err := ParseDigest(string(line))
	if err != nil || r.UnmarshalBinary(body) != nil {
		return Digest{}, Result{}, false
	}
	return action, r, true
}
