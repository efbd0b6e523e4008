package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// Setting is a value that replaces the one of a manifest, as a command line gives it:
// model.epochs=2, or dataset.labels[0].as=Bread. The value is YAML.
type Setting string

// ErrSetting says that a text is no setting.
var ErrSetting = errors.New("want key=value")

// settingForm is a dotted path with indices, and a value.
var settingForm = lazyregexp.New(`^([A-Za-z0-9_-]+(?:\[[0-9]{1,4}\])*(?:\.[A-Za-z0-9_-]+(?:\[[0-9]{1,4}\])*)*)=((?s:.*))$`)

// split returns the path and the value.
func (s Setting) split() (path, value string, err error) {
	parts := settingForm.FindStringSubmatch(string(s))
	if parts == nil {
		return "", "", fmt.Errorf("setting %q: %w", shorten(string(s)), ErrSetting)
	}
	return parts[1], parts[2], nil
}

// settingLine is added to the line numbers of values that come from a setting: the first
// one is on this line, the second on the next. No file has that many.
const settingLine = 1 << 30

// Override decodes a manifest in which settings replace values, and returns it with its
// text, which decodes to the same without them. A setting is checked as what it replaces
// would be; a fault in it names the setting as its file. An error that is no *Faults
// wraps ErrSetting.
func Override(filename string, src []byte, settings []Setting) (*Manifest, []byte, error) {
	doc, err := decodeDocument(filename, src, settings)
	if err != nil {
		return nil, nil, err
	}
	text, err := doc.text()
	return doc.manifest, text, err
}

// document is a manifest that was decoded.
type document struct {
	src      []byte
	settings []Setting
	root     *yaml.Node // with the settings
	manifest *Manifest
	variants []variantTree // of its matrix
}

// text is the manifest's text with the settings.
func (d *document) text() ([]byte, error) {
	if len(d.settings) == 0 {
		return d.src, nil
	}
	return overridden(d.root, d.settings)
}

// decodeDocument decodes a manifest in which settings replace values, and its variants.
func decodeDocument(filename string, src []byte, settings []Setting) (*document, error) {
	d := &decoder{file: filename, places: make(map[string]*yaml.Node)}
	root := d.parse(src)
	if root == nil {
		return nil, inOrder(d.faults)
	}
	for i, s := range settings {
		path, value, err := s.split()
		if err != nil {
			return nil, err
		}
		at := &yaml.Node{Line: settingLine + i, Column: 1}
		node, err := settingNode(s, value, at.Line)
		if err == nil {
			err = place(root, path, node, at)
		}
		if err != nil {
			d.fault(at, path, err.Error(), "")
		}
	}
	doc := &document{src: src, settings: settings, root: root}
	if len(d.faults) == 0 {
		doc.manifest = d.manifest(root)
	}
	if len(d.faults) == 0 && len(doc.manifest.Matrix) > 0 {
		doc.variants = d.variants(root, doc.manifest, settings)
	}
	if len(d.faults) == 0 {
		return doc, nil
	}
	faults := inOrder(d.faults)
	for i := range *faults {
		if f := &(*faults)[i]; f.Line >= settingLine {
			f.File, f.Line, f.Column = "-S "+string(settings[f.Line-settingLine]), 0, 0
		}
	}
	return nil, faults
}

// settingNode parses the value of a setting. Columns count from the start of the
// setting.
func settingNode(s Setting, value string, line int) (*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(value), &document); err != nil {
		return nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	node := &yaml.Node{Kind: yaml.ScalarNode} // nothing, as an empty value is in a file
	if len(document.Content) > 0 {
		node = document.Content[0]
	}
	moved(node, line, len(s)-len(value))
	return node, nil
}

// moved gives a node and all below it another place.
func moved(n *yaml.Node, line, columns int) {
	n.Line, n.Column = line, n.Column+columns
	for _, c := range n.Content {
		moved(c, line, columns)
	}
}

// place puts a value at a path below root, and makes the mappings on the way that are
// missing or are written as a word. Keys that it adds stand where from does.
func place(root *yaml.Node, path string, value, from *yaml.Node) error {
	at := root
	for segment := range strings.SplitSeq(path, ".") {
		name, indices, _ := strings.Cut(segment, "[")
		if at.Kind != yaml.MappingNode {
			*at = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: value.Line, Column: value.Column}
		}
		at = entryOf(at, name, from)
		if indices == "" {
			continue
		}
		for index := range strings.SplitSeq(strings.TrimSuffix(indices, "]"), "][") {
			n, err := strconv.Atoi(index)
			if err != nil || at.Kind != yaml.SequenceNode || n >= len(at.Content) {
				return fmt.Errorf("there is no %s[%s] to replace", name, index)
			}
			at = at.Content[n]
		}
	}
	*at = *value
	return nil
}

// entryOf returns the value of a mapping's key, which it adds, standing where from does,
// if it is not there.
func entryOf(mapping *yaml.Node, key string, from *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	k := textNode(key)
	k.Line, k.Column = from.Line, from.Column
	v := &yaml.Node{Kind: yaml.ScalarNode, Line: from.Line, Column: from.Column}
	mapping.Content = append(mapping.Content, k, v)
	return v
}

// overridden is the text of a manifest with settings. It says which they were.
func overridden(root *yaml.Node, settings []Setting) ([]byte, error) {
	var b bytes.Buffer
	for _, s := range settings {
		fmt.Fprintf(&b, "# -S %s\n", strings.ReplaceAll(string(s), "\n", " "))
	}
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		return nil, fmt.Errorf("write the manifest with its settings: %w", err)
	}
	return b.Bytes(), nil
}
