package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// MaxVariants bounds how many builds one manifest may ask for: one that multiplies to more
// is a slip of the pen.
const MaxVariants = 64

// maxAxes bounds the settings that a matrix varies.
const maxAxes = 16

// Axis is a setting that a matrix varies.
type Axis struct {
	Path   string   // of the setting, such as model.optimizer.learning_rate
	Values []string // YAML, each on one line
}

// Variant is one build of a manifest with a matrix: the manifest without the matrix, in
// which one value of each axis is set.
type Variant struct {
	Set      []Setting // what the matrix sets, in the order of its axes; none where there is no matrix
	Manifest *Manifest
	Text     []byte // decodes to Manifest
}

// Title says which variant it is.
func (v Variant) Title() string { return title(v.Set) }

func title(set []Setting) string {
	words := make([]string, len(set))
	for i, s := range set {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// Variants decodes a manifest with settings, as Override does, and returns what it builds:
// a variant for each combination of the values of its matrix, in which the first axis
// changes slowest, or the manifest itself where it has none. The message of a variant
// says which one it is.
func Variants(filename string, src []byte, settings []Setting) ([]Variant, error) {
	doc, err := decodeDocument(filename, src, settings)
	if err != nil {
		return nil, err
	}
	if len(doc.manifest.Matrix) == 0 {
		text, err := doc.text()
		return []Variant{{Manifest: doc.manifest, Text: text}}, err
	}
	variants := make([]Variant, 0, len(doc.variants))
	for _, v := range doc.variants {
		text, err := overridden(v.root, slices.Concat(settings, v.set))
		if err != nil {
			return nil, err
		}
		variants = append(variants, Variant{Set: v.set, Manifest: v.manifest, Text: text})
	}
	return variants, nil
}

// matrixKey is the key of the matrix.
const matrixKey = "matrix"

// variable are the paths of the settings that a matrix may vary. All its variants have
// one name, one registry and one lock, and so one selection of photos.
var variable = lazyregexp.New(`^(crop|quality|split|model|seed|dataset\.boxes\.(min_side|min_area|max_area|max_aspect|margin)|stages\.[a-z0-9_-]+\.(run|env))(\[[0-9]{1,4}\])*(\.[A-Za-z0-9_-]+(\[[0-9]{1,4}\])*)*$`)

// invariable says why a matrix cannot vary what is at or below a key.
var invariable = map[string]string{
	"version":     "a file is of one version",
	"name":        "the variants are revisions of one package",
	"message":     "the message of a variant says what the matrix sets",
	"dataset":     "the variants share one lock, and so one selection of photos",
	"code":        "the variants share one lock, and so one commit",
	"environment": "the variants share one lock, and so one image and one set of libraries",
	"package":     "the variants are revisions of one package, with the same sorts of files",
	"registry":    "the variants are revisions of one package, in one registry",
	"cache":       "where results are kept does not change what is built",
	"mirrors":     "where bytes are fetched from does not change what is built",
	"limits":      "what a stage may take of the machine does not change what is built",
	"stages":      "it varies what a stage runs and its env: the variants share one lock, and so the files that stages read",
	matrixKey:     "a matrix has no matrix",
}

// matrix is a mapping from the paths of settings to lists of values. What the values are
// is judged where they are set.
type matrix struct{ to *[]Axis }

func (v matrix) decode(d *decoder, n *yaml.Node, path string) {
	if !d.isMappingOf(n, path, "a mapping from settings to lists of values", "write `seed: [1, 2, 3]`", maxAxes, "settings") {
		return
	}
	var axes []Axis // stays nil when empty, so that there is one form of none
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		checkVariable(d, key, at)
		switch {
		case kindOf(value) != isList:
			d.mismatch(value, at, "a list of values", "")
		case len(value.Content) < 1 || len(value.Content) > MaxVariants:
			d.fault(value, at, fmt.Sprintf("want 1 to %d values, got %d", MaxVariants, len(value.Content)), "")
		default:
			axes = append(axes, axisOf(d, key, value, at))
		}
	})
	*v.to = axes
}

// checkVariable reports a key that is no setting, or none that may vary.
func checkVariable(d *decoder, key *yaml.Node, at string) {
	if variable.MatchString(key.Value) {
		return
	}
	keys := grammar(new(Manifest)).keys()
	first, _, _ := strings.Cut(key.Value, ".")
	first, _, _ = strings.Cut(first, "[")
	switch reason, known := invariable[first]; {
	case known:
		d.fault(key, at, "the matrix cannot vary it: "+reason, "")
	default:
		d.fault(key, at, "want the path of a setting, such as model.epochs", didYouMean(first, keys))
	}
}

// axisOf keeps the values of an axis as text.
func axisOf(d *decoder, key, list *yaml.Node, at string) Axis {
	axis := Axis{Path: key.Value}
	for i, value := range list.Content {
		text, problem := flow(value)
		if problem != "" {
			d.fault(value, fmt.Sprintf("%s[%d]", at, i), problem, "")
		}
		axis.Values = append(axis.Values, text)
	}
	return axis
}

// flow is a value as YAML on one line, or why it cannot be.
func flow(n *yaml.Node) (text, problem string) {
	c := clone(n)
	if !flatten(c) {
		return "", "aliases and tags are not part of the language: write the value itself"
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	if err := e.Encode(c); err != nil {
		return "", "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
	}
	return strings.TrimSuffix(b.String(), "\n"), ""
}

// flatten gives a node, and all below it, the style that fits on one line; false if there
// is an alias or a tag.
func flatten(n *yaml.Node) bool {
	kind := kindOf(n)
	n.HeadComment, n.LineComment, n.FootComment, n.Anchor = "", "", "", ""
	switch {
	case kind == isForeign:
		return false
	case n.Kind != yaml.ScalarNode:
		n.Style = yaml.FlowStyle
	case kind == isText && n.Style != 0:
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		if !flatten(c) {
			return false
		}
	}
	return true
}

// clone copies a node and all below it.
func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = clone(child)
	}
	return &c
}

func (v matrix) encode() *yaml.Node {
	if len(*v.to) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, axis := range *v.to {
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
		for _, text := range axis.Values {
			list.Content = append(list.Content, parsed(text))
		}
		n.Content = append(n.Content, textNode(axis.Path), list)
	}
	return n
}

// parsed is the node of a text that flow made.
func parsed(text string) *yaml.Node {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil || len(document.Content) == 0 {
		return &yaml.Node{Kind: yaml.ScalarNode} // nothing, which flow writes as no text
	}
	return document.Content[0]
}

func (v matrix) schema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", MaxProperties: length(maxAxes),
		PropertyNames: &jsonschema.Schema{Type: "string", Pattern: variable.String()},
		AdditionalProperties: &jsonschema.Schema{
			Type: "array", MinItems: length(1), MaxItems: length(MaxVariants), Items: &jsonschema.Schema{},
		},
	}
}

// variantTree is a variant before it is written as text.
type variantTree struct {
	set      []Setting
	root     *yaml.Node
	manifest *Manifest
}

// variants makes the variants of a manifest that is sound without its matrix, and reports
// what is wrong with them.
func (d *decoder) variants(root *yaml.Node, m *Manifest, settings []Setting) []variantTree {
	if !d.checkAxes(m, settings) {
		return nil
	}
	total := 1
	for _, axis := range m.Matrix {
		if total *= len(axis.Values); total > MaxVariants {
			d.faultAt(matrixKey, matrixKey, fmt.Sprintf("the values make more than %d variants", MaxVariants), "")
			return nil
		}
	}
	written := places(child(root, matrixKey), make(map[[2]int]bool))
	first := make(map[string]string) // what a variant builds -> its title
	variants := make([]variantTree, 0, total)
	for i := range total {
		if len(d.faults) > maxFaults {
			break // nobody reads further
		}
		v, faults := d.variant(root, m, i)
		for _, f := range faults {
			if !written[[2]int{f.Line, f.Column}] {
				f.Message += " in the variant " + shorten(title(v.set))
			}
			if !slices.Contains(d.faults, f) { // a value is in many variants
				d.faults = append(d.faults, f)
			}
		}
		if len(faults) > 0 {
			continue
		}
		if same := first[v.content()]; same != "" {
			d.faultAt(matrixKey, matrixKey, fmt.Sprintf("two variants are the same build: %s and %s", same, shorten(title(v.set))), "")
			return nil
		}
		first[v.content()] = shorten(title(v.set))
		variants = append(variants, v)
	}
	return variants
}

// checkAxes reports axes, and settings of the command line, that replace each other.
func (d *decoder) checkAxes(m *Manifest, settings []Setting) bool {
	before := len(d.faults)
	for i, axis := range m.Matrix {
		at := join(matrixKey, axis.Path)
		for _, other := range m.Matrix[:i] {
			if within(axis.Path, other.Path) || within(other.Path, axis.Path) {
				d.faultAt(at, at, "the matrix varies "+other.Path+" too, and one of them would replace the other", "")
			}
		}
		for k, s := range settings {
			if path, _, err := s.split(); err == nil && (within(axis.Path, path) || within(path, axis.Path)) {
				d.faults = append(d.faults, Fault{
					File: d.file, Line: settingLine + k, Column: 1, Path: path,
					Message: "the matrix varies " + axis.Path, Hint: "-S 'matrix={}' builds without the matrix, or give it other values",
				})
			}
		}
	}
	return len(d.faults) == before
}

// variant makes one variant: the digits of its number, in a system whose bases are the
// lengths of the axes, say which values are set.
func (d *decoder) variant(root *yaml.Node, m *Manifest, number int) (variantTree, []Fault) {
	axes := child(root, matrixKey).Content // keys and values by turns
	v := variantTree{root: without(clone(root), matrixKey), set: make([]Setting, len(m.Matrix))}
	chosen := make([]int, len(m.Matrix))
	for i := range slices.Backward(m.Matrix) {
		n := len(m.Matrix[i].Values)
		chosen[i], number = number%n, number/n
	}
	sub := &decoder{file: d.file, places: make(map[string]*yaml.Node)}
	for i, axis := range m.Matrix {
		key, value := axes[2*i], axes[2*i+1].Content[chosen[i]]
		v.set[i] = Setting(axis.Path + "=" + axis.Values[chosen[i]])
		if err := place(v.root, axis.Path, clone(value), key); err != nil {
			sub.fault(key, join(matrixKey, axis.Path), err.Error(), "")
		}
	}
	if len(sub.faults) > 0 {
		return v, sub.faults
	}
	if at := child(root, "message"); at != nil {
		titled(v.root, at, m.Message, v.set)
	} else {
		titled(v.root, child(root, matrixKey), "", v.set)
	}
	v.manifest = sub.manifest(v.root)
	return v, sub.faults
}

// titled makes the message of a variant say which one it is. It stands where at does.
func titled(root, at *yaml.Node, message string, set []Setting) {
	node := textNode(strings.TrimSpace(message + " (" + title(set) + ")"))
	node.Line, node.Column = at.Line, at.Column
	_ = place(root, "message", node, node) // root is a mapping: nothing is missing on the way
}

// content is what a variant builds, whatever its message says.
func (v variantTree) content() string {
	m := *v.manifest
	m.Message = ""
	text, _ := Render(&m) // a manifest that was decoded can be written
	return string(text)
}

// without removes a key of a mapping.
func without(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content = slices.Delete(mapping.Content, i, i+2)
			break
		}
	}
	return mapping
}

// places adds to at where a node, and all below it, stand.
func places(n *yaml.Node, at map[[2]int]bool) map[[2]int]bool {
	at[[2]int{n.Line, n.Column}] = true
	for _, c := range n.Content {
		places(c, at)
	}
	return at
}
