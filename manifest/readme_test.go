package manifest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

const (
	keysBegin = "-run README -->\n"
	keysEnd   = "<!-- end of keys -->"
)

// TestREADMEKeys holds the reference and the language together: the table of keys is
// made from the grammar.
func TestREADMEKeys(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), keysBegin)
	_, after, ok2 := strings.Cut(rest, keysEnd)
	if !ok || !ok2 {
		t.Fatal("README.md has lost the marks around the table of keys")
	}
	var table strings.Builder
	table.WriteString("\n| key | value | default | |\n|---|---|---|---|\n")
	writeKeys(t, &table, "", grammar(defaults()).schema())
	golden(t, "README.md", before+keysBegin+table.String()+"\n"+keysEnd+after)
}

// writeKeys writes a row for each key at and below a position.
func writeKeys(t *testing.T, b *strings.Builder, path string, s *jsonschema.Schema) {
	for _, alternative := range s.AnyOf {
		writeKeys(t, b, path, alternative)
	}
	if s.Items != nil {
		writeKeys(t, b, path+"[]", s.Items)
	}
	if rows := s.AdditionalProperties; s.PropertyNames != nil && rows.Properties != nil {
		names := "a name of your own"
		if s.PropertyNames.Enum != nil {
			names = "one of " + takes(s.PropertyNames)
		}
		fmt.Fprintf(b, "| `%s.*` | a mapping | | `*` is %s. |\n", path, names)
		writeKeys(t, b, path+".*", rows)
	} else if s.PropertyNames != nil {
		fmt.Fprintf(b, "| `%s.*` | text | | Key and value are as the row above says. |\n", path)
	}
	if s.Properties == nil {
		return
	}
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		at, p := join(path, pair.Key), pair.Value
		if path != "" {
			at = path + "." + pair.Key
		}
		if p.Description == "" {
			t.Errorf("%s has no description", at)
		}
		standard := ""
		for _, key := range s.Required {
			if key == pair.Key {
				standard = "required"
			}
		}
		if p.Default != nil {
			text, err := json.Marshal(p.Default)
			if err != nil {
				t.Fatal(err)
			}
			standard = "`" + strings.ReplaceAll(strings.ReplaceAll(string(text), `"`, ""), ",", ", ") + "`"
			if standard == "``" {
				standard = "empty"
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", at, takes(p), standard, p.Description)
		writeKeys(t, b, at, p)
	}
}

// takes is what a position takes, in a few words.
func takes(s *jsonschema.Schema) string {
	switch {
	case s.AnyOf != nil:
		var words []string
		for _, alternative := range s.AnyOf {
			words = append(words, takes(alternative))
		}
		return strings.Join(words, ", or ")
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case s.Enum != nil:
		var words []string
		for _, word := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", word))
		}
		return strings.Join(words, ", ")
	case s.Type == "array":
		return "a list: " + takes(s.Items)
	case s.Type == "boolean":
		return "`true`, `false`"
	case s.Type == "object" && s.MaxProperties != nil && *s.MaxProperties == 1:
		return "one of the keys below"
	case s.Type == "object":
		return "a mapping"
	case s.Type == "string":
		return "text"
	case s.Minimum == s.Maximum && s.Minimum != "":
		return "`" + s.Minimum.String() + "`"
	}
	low, high := s.Minimum.String(), s.Maximum.String()
	if s.ExclusiveMinimum != "" {
		low = "above " + s.ExclusiveMinimum.String()
	}
	if s.ExclusiveMaximum != "" {
		high = "below " + s.ExclusiveMaximum.String()
	}
	return s.Type + ", " + low + " to " + high
}

// TestREADMEExamples decodes every example, completed by what it leaves out.
func TestREADMEExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```yaml\n")[1:]
	if len(blocks) < 4 {
		t.Errorf("only %d examples", len(blocks))
	}
	for i, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		var example, rest map[string]yaml.Node
		if err := yaml.Unmarshal([]byte(block), &example); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(minimal), &rest); err != nil {
			t.Fatal(err)
		}
		for key, node := range rest {
			if _, ok := example[key]; ok {
				continue
			}
			text, err := yaml.Marshal(map[string]*yaml.Node{key: &node})
			if err != nil {
				t.Fatal(err)
			}
			block += string(text)
		}
		if _, err := Decode(fmt.Sprintf("example-%d.yaml", i), []byte(block)); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
}

// TestREADMEArticle: the network that the reference writes out is the one by name.
func TestREADMEArticle(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```yaml\nmodel:\n")
	block, _, _ = strings.Cut(block, "```")
	m := mustDecode(t, minimal+"model:\n"+block)
	m.Model.LayersName = articleLayers
	if got, want := mustRender(t, m), mustRender(t, mustDecode(t, minimal)); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
