package manifest

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// Limit bounds what a stage takes of the machine. It decides how a build runs, and
// nothing of what it makes.
type Limit struct {
	Stage  string
	CPU    int   // cores to keep busy; 0 for all that the build may use
	Memory int64 // bytes for what the stage works with; 0 for as much as it takes by itself
}

// StageNames returns the names of the stages of a build, in the order in which they run.
func StageNames() []string {
	return []string{"metadata", "select", "download", "crop", "quality", "split", "train", "evaluate", "report", "pack"}
}

// MergeLimits returns the limits in which later ones replace earlier ones of the same
// stage, value by value.
func MergeLimits(limits, later []Limit) []Limit {
	merged := slices.Clone(limits)
	for _, l := range later {
		i := slices.IndexFunc(merged, func(m Limit) bool { return m.Stage == l.Stage })
		if i < 0 {
			merged = append(merged, l)
			continue
		}
		if l.CPU != 0 {
			merged[i].CPU = l.CPU
		}
		if l.Memory != 0 {
			merged[i].Memory = l.Memory
		}
	}
	return merged
}

// ErrLimit says that a text is no limit.
var ErrLimit = errors.New("want STAGE.cpu=CORES or STAGE.memory=SIZE")

// ParseLimit reads a limit as a command line gives it: crop.cpu=2, or train.memory=4GiB.
func ParseLimit(s string) (Limit, error) {
	stage, rest, dot := strings.Cut(s, ".")
	key, value, equals := strings.Cut(rest, "=")
	if !dot || !equals {
		return Limit{}, fmt.Errorf("limit %q: %w", shorten(s), ErrLimit)
	}
	// The value is judged as in a file.
	scalarOf := &yaml.Node{Kind: yaml.ScalarNode, Value: value, Tag: "!!str"}
	if _, err := strconv.Atoi(value); err == nil {
		scalarOf.Tag = "!!int"
	}
	inner := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode(key), scalarOf}}
	outer := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode(stage), inner}}
	d := &decoder{places: make(map[string]*yaml.Node)}
	var found []Limit
	limits{&found}.decode(d, outer, "")
	if len(d.faults) > 0 {
		f := d.faults[0]
		if f.Hint != "" && f.Hint != noneHint {
			f.Message += " (" + f.Hint + ")"
		}
		return Limit{}, fmt.Errorf("limit %q: %s: %s", shorten(s), f.Path, f.Message)
	}
	if len(found) == 0 { // none, which takes nothing back
		return Limit{}, fmt.Errorf("limit %q: %w", shorten(s), ErrLimit)
	}
	return found[0], nil
}

// limits is a mapping from the names of stages to their limits.
type limits struct{ to *[]Limit }

// rows returns a limit for each stage, in their order, and a mapping that is bound to them.
func (v limits) rows() ([]Limit, mapping) {
	var m mapping
	rows := make([]Limit, len(StageNames()))
	for i, name := range StageNames() {
		rows[i].Stage = name
		if at := slices.IndexFunc(*v.to, func(l Limit) bool { return l.Stage == name }); at >= 0 {
			rows[i] = (*v.to)[at]
		}
		m.fields = append(m.fields, field{key: name, value: limitGrammar(&rows[i].CPU, &rows[i].Memory)})
	}
	return rows, m
}

func limitGrammar(cpu *int, memory *int64) mapping {
	return mapping{fields: []field{
		{key: "cpu", value: optionalInteger(integer[int]{cpu, 1, 4096}),
			doc: "Cores that the stage keeps busy. Stages that leave some to others run beside them."},
		{key: "memory", value: orNone{byteSize{memory}, func() bool { return *memory == 0 }, func() { *memory = 0 }},
			doc: "Memory for the photos and pictures that the stage works with, such as 512MiB or 4GiB."},
	}}
}

func (l Limit) isNone() bool { return l.CPU == 0 && l.Memory == 0 }

func (v limits) decode(d *decoder, n *yaml.Node, path string) {
	*v.to = nil // so that there is one form of none
	rows, m := v.rows()
	m.decode(d, n, path)
	*v.to = slices.DeleteFunc(rows, Limit.isNone)
	if len(*v.to) == 0 {
		*v.to = nil
	}
}

func (v limits) encode() *yaml.Node {
	rows, m := v.rows()
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i, f := range m.fields {
		if !rows[i].isNone() {
			item := f.value.encode()
			item.Style = yaml.FlowStyle
			n.Content = append(n.Content, textNode(f.key), item)
		}
	}
	return n
}

func (v limits) schema() *jsonschema.Schema {
	names := &jsonschema.Schema{Type: "string"}
	for _, name := range StageNames() {
		names.Enum = append(names.Enum, name)
	}
	return &jsonschema.Schema{Type: "object", PropertyNames: names, AdditionalProperties: limitGrammar(new(int), new(int64)).schema()}
}

// byteSize is a number of bytes with its unit.
type byteSize struct{ to *int64 }

// sizeForm is at least 1MiB and at most 9999TiB.
var sizeForm = lazyregexp.New(`^([1-9][0-9]{0,3})(MiB|GiB|TiB)$`)

const wantSize = "an amount of memory, such as 512MiB or 4GiB"

func (v byteSize) decode(d *decoder, n *yaml.Node, path string) {
	parts := sizeForm.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || parts == nil {
		hint := ""
		if kindOf(n) == isNumber {
			hint = "give it a unit: MiB, GiB or TiB"
		}
		d.mismatch(n, path, wantSize, hint)
		return
	}
	count, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		d.mismatch(n, path, wantSize, "")
		return
	}
	*v.to = count << map[string]int{"MiB": 20, "GiB": 30, "TiB": 40}[parts[2]]
}

func (v byteSize) encode() *yaml.Node { return textNode(formatSize(*v.to)) }

// formatSize writes bytes in the largest unit of which they are a whole number.
func formatSize(n int64) string {
	unit := min(bits.TrailingZeros64(uint64(n))/10, 4)
	return fmt.Sprintf("%d%s", n>>(10*unit), []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

func (v byteSize) schema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: sizeForm.String()}
}
