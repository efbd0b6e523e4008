package manifest

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// A value is one position of the language, bound to the Go variable that holds what
// the manifest says there. grammar.go builds the whole language out of values, and
// everything else follows from it: decoding, rendering, the schema, the reference.
type value interface {
	// decode sets the variable from n, or reports why it cannot.
	decode(d *decoder, n *yaml.Node, path string)
	// encode is the variable as YAML; nil when the position is better left out.
	encode() *yaml.Node
	// schema accepts what decode accepts, as far as JSON Schema can say it.
	schema() *jsonschema.Schema
}

// kind is what a YAML node is to a reader of YAML 1.2, with the spellings apart
// that YAML 1.1 reads differently.
type kind int

const (
	isNothing kind = iota
	isBool
	isNumber
	isOddNumber // a number to some readers only: 010, 0x1F, 1_000, 1:30, .inf
	isText
	isList
	isMapping
	isForeign // an alias or an explicit tag, which the language does not have
)

var (
	numberForm    = lazyregexp.New(`^[-+]?(0|[1-9][0-9]*|\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*)([eE][-+]?[0-9]+)?$`)
	oddNumberForm = lazyregexp.New(`^[-+]?([0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|\.[0-9_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$`)
)

func kindOf(n *yaml.Node) kind {
	switch {
	case n.Kind == yaml.AliasNode, n.Style&yaml.TaggedStyle != 0:
		return isForeign
	case n.Kind == yaml.SequenceNode:
		return isList
	case n.Kind == yaml.MappingNode:
		return isMapping
	case n.Style&^yaml.FlowStyle != 0:
		return isText // quoted, or a block of text
	default:
		return kindOfPlain(n.Value)
	}
}

func kindOfPlain(s string) kind {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return isNothing
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return isBool
	}
	switch {
	case !strings.ContainsAny(s[:1], "+-.0123456789"):
		return isText
	case numberForm.MatchString(s):
		return isNumber
	case oddNumberForm.MatchString(s):
		return isOddNumber
	default:
		return isText
	}
}

// describe says what stands at n, for "got …".
func describe(n *yaml.Node) string {
	switch kindOf(n) {
	case isNothing:
		return "nothing"
	case isText:
		return strconv.Quote(shorten(n.Value))
	case isList:
		return "a list"
	case isMapping:
		return "a mapping"
	case isForeign:
		if n.Kind == yaml.AliasNode {
			return "an alias"
		}
		return "the tag " + shorten(n.Tag)
	default:
		return shorten(n.Value)
	}
}

// shorten keeps a message on one line whatever the file holds.
func shorten(s string) string {
	const limit = 60
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "…"
}
