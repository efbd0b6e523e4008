package manifest

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Render is a checked manifest as canonical YAML: every key in the order of the
// reference, every default written out. Decoding it gives an equal manifest.
func Render(m *Manifest) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(grammar(m).encode()); err != nil {
		return nil, fmt.Errorf("render manifest: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("render manifest: %w", err)
	}
	return b.Bytes(), nil
}
