package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// list is a list of values of one sort.
type list[T any] struct {
	to       *[]T
	of       string            // what it lists, for "want a list of …"
	fresh    T                 // an item before it is decoded: its defaults
	item     func(*T) value    // the value of one item
	min, max int               // how many items
	same     func(a, b T) bool // which items may not both be listed; nil: all may
}

func equal(a, b string) bool { return a == b }

func (v list[T]) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isList {
		hint := ""
		if kindOf(n) == isText {
			hint = fmt.Sprintf("write [%s]", shorten(n.Value))
		}
		d.mismatch(n, path, "a list of "+v.of, hint)
		return
	}
	if len(n.Content) < v.min || len(n.Content) > v.max {
		d.fault(n, path, fmt.Sprintf("want %d to %d %s, got %d", v.min, v.max, v.of, len(n.Content)), "")
		return
	}
	var items []T // stays nil when empty, so that there is one form of none
	for i, node := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.place(at, node)
		item, before := v.fresh, len(d.faults)
		v.item(&item).decode(d, node, at)
		if v.same != nil && len(d.faults) == before && slices.ContainsFunc(items, func(other T) bool { return v.same(other, item) }) {
			d.fault(node, at, describe(node)+" is listed twice", "")
		}
		items = append(items, item)
	}
	*v.to = items
}

func (v list[T]) encode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	flat := true
	for i := range *v.to {
		item := v.item(&(*v.to)[i]).encode()
		if item.Kind == yaml.MappingNode {
			item.Style = yaml.FlowStyle // an item a line
			flat = false
		}
		n.Content = append(n.Content, item)
	}
	if flat {
		n.Style = yaml.FlowStyle
	}
	return n
}

func (v list[T]) schema() *jsonschema.Schema {
	item := v.fresh
	return &jsonschema.Schema{
		Type: "array", Items: v.item(&item).schema(),
		MinItems: length(v.min), MaxItems: length(v.max), UniqueItems: v.same != nil,
	}
}

// field is one key of a mapping.
type field struct {
	key      string
	doc      string // one sentence for the schema and the reference
	value    value
	required bool
}

// mapping is a set of fields, written in any order and rendered in theirs.
type mapping struct {
	fields []field
}

func (v mapping) keys() []string {
	keys := make([]string, len(v.fields))
	for i, f := range v.fields {
		keys[i] = f.key
	}
	return keys
}

func (v mapping) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isMapping {
		d.mismatch(n, path, "a mapping with "+strings.Join(v.keys(), ", "), "")
		return
	}
	meant := make(map[string]bool) // keys that were written wrongly, and so are not missing
	seen := d.pairs(n, path, func(key, value *yaml.Node, at string) {
		i := slices.IndexFunc(v.fields, func(f field) bool { return f.key == key.Value })
		if i >= 0 {
			v.fields[i].value.decode(d, value, at)
			return
		}
		meant[nearest(key.Value, v.keys())] = true
		hint := didYouMean(key.Value, v.keys())
		if path := grammar(defaults()).find(key.Value); hint == "" && path != "" {
			hint = fmt.Sprintf("did you mean `%s`?", path)
		}
		d.fault(key, at, "unknown key", hint)
	})
	for _, f := range v.fields {
		if f.required && !seen[f.key] && !meant[f.key] {
			d.faultAt(path, join(path, f.key), "missing", "")
		}
	}
}

// find returns the path of the first key of a name at or below the mapping, or "" when it
// has none: people remember the name of a setting rather than where it belongs.
func (v mapping) find(key string) string {
	for _, f := range v.fields {
		if f.key == normal(key) {
			return f.key
		}
	}
	for _, f := range v.fields {
		below, ok := f.value.(mapping)
		if !ok {
			continue
		}
		if path := below.find(key); path != "" {
			return f.key + "." + path
		}
	}
	return ""
}

func (v mapping) encode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, f := range v.fields {
		if item := f.value.encode(); item != nil {
			n.Content = append(n.Content, textNode(f.key), item)
		}
	}
	return n
}

func (v mapping) schema() *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema,
	}
	for _, f := range v.fields {
		p := f.value.schema()
		p.Description = f.doc
		if f.required {
			s.Required = append(s.Required, f.key)
		} else {
			p.Default = plain(f.value.encode())
		}
		s.Properties.Set(f.key, p)
	}
	return s
}

// plain is a default as JSON has it. Mappings have none: their keys do.
func plain(n *yaml.Node) any {
	if n == nil || n.Kind == yaml.MappingNode {
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil
	}
	return v
}

// pointer is a value behind a pointer that is nil where nothing was decoded.
type pointer[T any] struct {
	to    **T
	fresh T
	value func(*T) value
}

func (v pointer[T]) decode(d *decoder, n *yaml.Node, path string) {
	item := v.fresh
	v.value(&item).decode(d, n, path)
	*v.to = &item
}

func (v pointer[T]) encode() *yaml.Node {
	if *v.to == nil {
		return nil
	}
	return v.value(*v.to).encode()
}

func (v pointer[T]) schema() *jsonschema.Schema {
	item := v.fresh
	return v.value(&item).schema()
}

// orNone is a value or the word none.
type orNone struct {
	value  value
	isNone func() bool
	clear  func()
}

// all is written where everything is wanted that there is.
const all = "all"

// none is written where a thing is not wanted at all.
const none = "none"

const noneHint = "or `none`"

func optional[T any](v pointer[T]) orNone {
	return orNone{v, func() bool { return *v.to == nil }, func() { *v.to = nil }}
}

func optionalInteger(v integer[int]) orNone {
	return orNone{v, func() bool { return *v.to == 0 }, func() { *v.to = 0 }}
}

func optionalNumber(v number) orNone {
	return orNone{v, func() bool { return *v.to == 0 }, func() { *v.to = 0 }}
}

func (v orNone) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) == isText && n.Value == none {
		v.clear()
		return
	}
	before := len(d.faults)
	v.value.decode(d, n, path)
	if len(d.faults) > before && d.faults[before].Path == path && d.faults[before].Hint == "" {
		d.faults[before].Hint = noneHint
	}
}

func (v orNone) encode() *yaml.Node {
	if v.isNone() {
		return textNode(none)
	}
	return v.value.encode()
}

func (v orNone) schema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Const: none}, v.value.schema()}}
}

// orAll is a value or the word all.
type orAll struct {
	value value
	all   *bool // whether the word is written
}

func (v orAll) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) == isText && n.Value == all {
		*v.all = true
		return
	}
	v.value.decode(d, n, path)
}

func (v orAll) encode() *yaml.Node {
	if *v.all {
		return textNode(all)
	}
	return v.value.encode()
}

func (v orAll) schema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Const: all}, v.value.schema()}}
}

// rendered is a value that is written only when it has an effect.
type rendered struct {
	value
	when func() bool
}

func (v rendered) encode() *yaml.Node {
	if !v.when() {
		return nil
	}
	return v.value.encode()
}

// shorthand is a value that has a short form, one scalar, for the usual case.
type shorthand struct {
	short, full value
	isShort     func() bool
	long        func() // called before the full form is decoded; may be nil
}

func (v shorthand) decode(d *decoder, n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode {
		v.short.decode(d, n, path)
		return
	}
	if v.long != nil {
		v.long()
	}
	v.full.decode(d, n, path)
}

func (v shorthand) encode() *yaml.Node {
	if v.isShort() {
		return v.short.encode()
	}
	return v.full.encode()
}

func (v shorthand) schema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{v.short.schema(), v.full.schema()}}
}

// oneOf is one key of several with its value, or a bare word.
type oneOf struct {
	what string  // "a layer"
	keys []field // their values are pointers; the one that is not nil is the choice
	bare []bareWord
}

// bareWord is a word that stands for a value.
type bareWord struct {
	word, doc string
	is        func() bool
	choose    func()
}

func (v oneOf) words() []string {
	words := mapping{fields: v.keys}.keys()
	for _, b := range v.bare {
		if !slices.Contains(words, b.word) {
			words = append(words, b.word)
		}
	}
	return words
}

func (v oneOf) decode(d *decoder, n *yaml.Node, path string) {
	want := v.what + ": one of " + strings.Join(v.words(), ", ")
	i := slices.IndexFunc(v.bare, func(b bareWord) bool { return kindOf(n) == isText && n.Value == b.word })
	switch {
	case i >= 0:
		v.bare[i].choose()
	case kindOf(n) == isText && slices.Contains(v.words(), n.Value):
		d.fault(n, path, n.Value+" needs a value", fmt.Sprintf("write `%s: …`", n.Value))
	case kindOf(n) == isMapping && len(n.Content) == 2:
		mapping{fields: v.keys}.decode(d, n, path)
	case kindOf(n) == isMapping:
		hint := ""
		if strings.HasSuffix(path, "]") {
			hint = "start each " + strings.TrimPrefix(v.what, "a ") + " with its own `- `"
		}
		d.fault(n, path, fmt.Sprintf("want one key, got %d", len(n.Content)/2), hint)
	default:
		d.mismatch(n, path, want, didYouMean(n.Value, v.words()))
	}
}

func (v oneOf) encode() *yaml.Node {
	for _, b := range v.bare {
		if b.is() {
			return textNode(b.word)
		}
	}
	return mapping{fields: v.keys}.encode()
}

func (v oneOf) schema() *jsonschema.Schema {
	keys := mapping{fields: v.keys}.schema()
	keys.MinProperties, keys.MaxProperties = length(1), length(1)
	s := &jsonschema.Schema{}
	for _, b := range v.bare {
		s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Const: b.word, Description: b.doc})
	}
	s.AnyOf = append(s.AnyOf, keys)
	return s
}

// keyed is one key of several where a mapping has one of those, and another mapping
// where it has not.
type keyed struct {
	one   oneOf
	other mapping
	isOne func() bool
}

func (v keyed) decode(d *decoder, n *yaml.Node, path string) {
	keys := mapping{fields: v.one.keys}.keys()
	if n.Kind == yaml.MappingNode && slices.ContainsFunc(keys, func(key string) bool { return child(n, key) != nil }) {
		v.one.decode(d, n, path)
		return
	}
	v.other.decode(d, n, path)
}

func (v keyed) encode() *yaml.Node {
	if v.isOne() {
		return v.one.encode()
	}
	return v.other.encode()
}

func (v keyed) schema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{v.other.schema(), v.one.schema()}}
}

// network is the name of a network, which stands for its layers.
type network struct {
	name   *string
	layers *[]Layer
}

func (v network) choice() choice { return choice{v.name, slices.Sorted(maps.Keys(namedLayers))} }

func (v network) decode(d *decoder, n *yaml.Node, path string) {
	before := len(d.faults)
	if v.choice().decode(d, n, path); len(d.faults) == before {
		*v.layers = namedLayers[*v.name]()
	}
}

func (v network) encode() *yaml.Node { return v.choice().encode() }

func (v network) schema() *jsonschema.Schema { return v.choice().schema() }

// numberMap is a mapping from keys of the writer's own to numbers from 0 on.
type numberMap struct {
	to   *map[string]float64
	want string
	key  text // its to is not used
	max  int
	high float64
}

func (v numberMap) decode(d *decoder, n *yaml.Node, path string) {
	if kindOf(n) != isMapping || len(n.Content) == 0 || len(n.Content)/2 > v.max {
		d.mismatch(n, path, v.want, "")
		return
	}
	result := make(map[string]float64)
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		var name string
		var amount float64
		k := v.key
		k.to = &name
		k.decode(d, key, at)
		number{to: &amount, max: v.high}.decode(d, value, at)
		result[name] = amount
	})
	*v.to = result
}

func (v numberMap) encode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, key := range slices.Sorted(maps.Keys(*v.to)) {
		amount := (*v.to)[key]
		n.Content = append(n.Content, textNode(key), number{to: &amount}.encode())
	}
	return n
}

func (v numberMap) schema() *jsonschema.Schema {
	var amount float64
	return &jsonschema.Schema{
		Type: "object", MinProperties: length(1), MaxProperties: length(v.max),
		PropertyNames: v.key.schema(), AdditionalProperties: number{to: &amount, max: v.high}.schema(),
	}
}

// textMap is a mapping with keys of the writer's own.
type textMap struct {
	to         *map[string]string
	key, value text // their to is not used
	max        int
}

func (v textMap) decode(d *decoder, n *yaml.Node, path string) {
	if !d.isMappingOf(n, path, fmt.Sprintf("a mapping from %s to %s", v.key.want, v.value.want), "", v.max, "keys") {
		return
	}
	var result map[string]string // stays nil when empty, so that there is one form of none
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		var from, to string
		k, w := v.key, v.value
		k.to, w.to = &from, &to
		k.decode(d, key, at)
		w.decode(d, value, at)
		if result == nil {
			result = make(map[string]string)
		}
		result[from] = to
	})
	*v.to = result
}

func (v textMap) encode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, key := range slices.Sorted(maps.Keys(*v.to)) {
		n.Content = append(n.Content, textNode(key), textNode((*v.to)[key]))
	}
	return n
}

func (v textMap) schema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", MaxProperties: length(v.max),
		PropertyNames: v.key.schema(), AdditionalProperties: v.value.schema(),
	}
}
