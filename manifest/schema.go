package manifest

import (
	"encoding/json"
	"fmt"

	"github.com/invopop/jsonschema"
)

// SchemaID names the schema of version 1 of the language.
const SchemaID = "urn:sandwich:manifest:1"

// Schema is the JSON Schema of the language, from which editors complete and check.
// It says everything that one position can know; what only Decode can judge are
// contradictions between positions.
func Schema() ([]byte, error) {
	s := grammar(defaults()).schema()
	s.Version, s.ID = jsonschema.Version, SchemaID
	s.Title = "sandwich manifest"
	s.Description = "What a sandwich build is made of."
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the manifest's schema: %w", err)
	}
	return append(text, '\n'), nil
}
