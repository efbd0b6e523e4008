package cas

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
)

// Result is what an action produced.
type Result struct {
	Tree     TreeID
	Counters map[string]int64 // what the stage counted: images, boxes, dead, …
	Log      []Line           // what the stage told the person, in order
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

// MarshalBinary returns the result as an ActionResult whose only output directory is
// the tree.
func (r Result) MarshalBinary() ([]byte, error) {
	out, err := json.Marshal(report{Counters: r.Counters, Log: r.Log})
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(&repb.ActionResult{
		OutputDirectories: []*repb.OutputDirectory{{RootDirectoryDigest: r.Tree.root.proto()}},
		StdoutRaw:         out,
	})
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (r *Result) UnmarshalBinary(data []byte) error {
	p := new(repb.ActionResult)
	if err := proto.Unmarshal(data, p); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if len(p.GetOutputDirectories()) != 1 {
		return fmt.Errorf("result: want one output directory, got %d", len(p.GetOutputDirectories()))
	}
	root, err := fromProto(p.GetOutputDirectories()[0].GetRootDirectoryDigest())
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	var rep report
	if err := json.Unmarshal(p.GetStdoutRaw(), &rep); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	*r = Result{Tree: TreeID{root}, Counters: rep.Counters, Log: rep.Log}
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
