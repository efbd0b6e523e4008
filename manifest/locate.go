package manifest

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Locate returns the line and the column, from 1, at which the value at a path such as
// dataset.labels[1].except[0] stands in the text of a manifest. For a value that is not
// written, it is the place of the nearest one around it. It serves those who find what
// is wrong with a manifest only when they compare it with the world.
func Locate(src []byte, path string) (line, column int) {
	var doc yaml.Node
	if yaml.Unmarshal(src, &doc) != nil || len(doc.Content) == 0 {
		return 1, 1
	}
	n := doc.Content[0]
	// "labels[1]" is the key "labels" and then the item "1" of what it names.
	for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next := child(n, step)
		if next == nil {
			break
		}
		n = next
	}
	return n.Line, n.Column
}

// child is the item of a list or the value of a mapping's key; nil if there is none.
func child(n *yaml.Node, step string) *yaml.Node {
	switch n.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1]
			}
		}
	}
	return nil
}
