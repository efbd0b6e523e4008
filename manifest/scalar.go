package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

func scalar(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

// text is a string of one form.
type text struct {
	to       *string
	want     string             // what it is: "a label's name or id"
	form     *lazyregexp.Regexp // what it must match; also the schema's pattern
	max      int                // characters
	optional bool               // left out when empty
}

func (v text) decode(d *decoder, n *yaml.Node, path string) {
	switch kindOf(n) {
	case isText:
	case isBool, isNumber, isOddNumber:
		d.mismatch(n, path, v.want, "put it in quotes")
		return
	default:
		d.mismatch(n, path, v.want, "")
		return
	}
	switch {
	case utf8.RuneCountInString(n.Value) > v.max:
		d.fault(n, path, fmt.Sprintf("want %s of at most %d characters, got %d", v.want, v.max, utf8.RuneCountInString(n.Value)), "")
	case !v.form.MatchString(n.Value):
		d.mismatch(n, path, v.want, "")
	default:
		*v.to = n.Value
	}
}

// plainText is text that every reader of YAML, in every place, takes as it is.
var plainText = lazyregexp.New(`^[A-Za-z0-9_./]([A-Za-z0-9_./ @%+=~-]|://)*$`)

// oldWords are the words that YAML 1.1 takes for a boolean.
var oldWords = []string{"y", "n", "yes", "no", "on", "off"}

func (v text) encode() *yaml.Node {
	if v.optional && *v.to == "" {
		return nil
	}
	return textNode(*v.to)
}

func textNode(s string) *yaml.Node {
	n := scalar("!!str", strings.ToValidUTF8(s, "\uFFFD"))
	if !plainText.MatchString(s) || strings.TrimSpace(s) != s || kindOfPlain(s) != isText || slices.Contains(oldWords, strings.ToLower(s)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func (v text) schema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: v.form.String(), MaxLength: length(v.max)}
}

func length(n int) *uint64 {
	u := uint64(n)
	return &u
}

// choice is one word of a few.
type choice struct {
	to *string
	of []string
}

func (v choice) want() string {
	if len(v.of) == 1 {
		return v.of[0]
	}
	return "one of " + strings.Join(v.of, ", ")
}

func (v choice) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isText || !slices.Contains(v.of, n.Value) {
		d.mismatch(n, path, v.want(), didYouMean(n.Value, v.of))
		return
	}
	*v.to = n.Value
}

func (v choice) encode() *yaml.Node { return textNode(*v.to) }

func (v choice) schema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, word := range v.of {
		s.Enum = append(s.Enum, word)
	}
	return s
}

// boolean is true or false.
type boolean struct{ to *bool }

func (v boolean) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isBool {
		hint := ""
		switch strings.ToLower(n.Value) {
		case "yes", "y", "on", "true":
			hint = "did you mean `true`?"
		case "no", "n", "off", "false", "none":
			hint = "did you mean `false`?"
		}
		d.mismatch(n, path, "true or false", hint)
		return
	}
	*v.to = strings.EqualFold(n.Value, "true")
}

func (v boolean) encode() *yaml.Node { return scalar("!!bool", strconv.FormatBool(*v.to)) }

func (v boolean) schema() *jsonschema.Schema { return &jsonschema.Schema{Type: "boolean"} }

// maxExactInteger is the largest integer that every reader of JSON and YAML keeps
// exactly: many hold numbers as float64.
const maxExactInteger = 1<<53 - 1

// integer is a whole number from min to max.
type integer[T int | uint64] struct {
	to       *T
	min, max int64
}

func (v integer[T]) want() string {
	switch v.min {
	case v.max:
		return strconv.FormatInt(v.min, 10)
	case 1:
		return "a positive integer"
	default:
		return "an integer"
	}
}

func (v integer[T]) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isNumber {
		d.mismatch(n, path, v.want(), numberHint(n))
		return
	}
	f, _ := strconv.ParseFloat(n.Value, 64) // an overflow is infinite, and out of range below
	if f != math.Trunc(f) {
		d.mismatch(n, path, v.want(), "")
		return
	}
	if f < float64(v.min) || f > float64(v.max) {
		want := fmt.Sprintf("an integer from %d to %d", v.min, v.max)
		if v.min == v.max {
			want = v.want()
		}
		d.mismatch(n, path, want, "")
		return
	}
	*v.to = T(f)
}

// numberHint explains the spellings of numbers that are not accepted.
func numberHint(n *yaml.Node) string {
	switch {
	case kindOf(n) == isOddNumber:
		return "write a finite number in plain decimal digits: YAML's versions disagree about this spelling"
	case kindOf(n) == isText && numberForm.MatchString(n.Value):
		return "remove the quotes"
	default:
		return ""
	}
}

func (v integer[T]) encode() *yaml.Node { return scalar("!!int", fmt.Sprint(*v.to)) }

func (v integer[T]) schema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type:    "integer",
		Minimum: json.Number(strconv.FormatInt(v.min, 10)),
		Maximum: json.Number(strconv.FormatInt(v.max, 10)),
	}
}

// number is a finite number from min to max; an open end is itself excluded.
type number struct {
	to               *float64
	min, max         float64
	openMin, openMax bool
}

func (v number) want() string {
	low, high := "from "+formatNumber(v.min), "to "+formatNumber(v.max)
	if v.openMin {
		low = "above " + formatNumber(v.min)
	}
	if v.openMax {
		high = "below " + formatNumber(v.max)
	}
	return "a number " + low + " " + high
}

func (v number) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isNumber {
		d.mismatch(n, path, v.want(), numberHint(n))
		return
	}
	f, _ := strconv.ParseFloat(n.Value, 64) // an overflow is infinite, and out of range
	if f < v.min || f > v.max || v.openMin && f == v.min || v.openMax && f == v.max {
		d.mismatch(n, path, v.want(), "")
		return
	}
	if f == 0 {
		f = 0 // not -0, which would be rendered as another text
	}
	*v.to = f
}

func (v number) encode() *yaml.Node {
	text := formatNumber(*v.to)
	if strings.ContainsAny(text, ".e") {
		return scalar("!!float", text)
	}
	return scalar("!!int", text)
}

func (v number) schema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "number"}
	low, high := json.Number(formatNumber(v.min)), json.Number(formatNumber(v.max))
	if v.openMin {
		s.ExclusiveMinimum = low
	} else {
		s.Minimum = low
	}
	if v.openMax {
		s.ExclusiveMaximum = high
	} else {
		s.Maximum = high
	}
	return s
}

// formatNumber is the shortest text that reads back as f, in digits where people
// would write digits.
func formatNumber(f float64) string {
	if f != 0 && (math.Abs(f) < 1e-5 || math.Abs(f) >= 1e15) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
