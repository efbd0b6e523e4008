package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest"
)

// defaultManifest is the manifest that verbs work on when none is named.
const defaultManifest = "manifest.yaml"

// manifestArg is the manifest that the arguments name.
func manifestArg(args []string) string {
	if len(args) == 0 {
		return defaultManifest
	}
	return args[0]
}

// completeManifest completes names of YAML files.
func completeManifest(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use:   "check [MANIFEST]",
		Short: "Say what is wrong with a manifest",
		Long: `Check reads a manifest and lists everything that is wrong with it, each with its
line, column and what was probably meant. It looks at nothing but that file:
whether the labels exist is said by plan. It also lists the variants of a matrix.`,
		Example: `  sandwich check
  sandwich check burgers.yaml --json | jq '.error.faults[].line'`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(_ context.Context, args []string) (ui.Answer, error) {
			path := manifestArg(args)
			src, err := manifest.ReadText(path)
			if err != nil {
				return nil, unreadable(path, err)
			}
			variants, err := manifest.Variants(path, src, nil)
			if err != nil {
				return nil, err
			}
			return newCheckAnswer(path, variants), nil
		}),
	}
}

type checkAnswer struct {
	Manifest string               `json:"manifest"`
	Name     string               `json:"name"`
	Variants [][]manifest.Setting `json:"variants,omitempty"` // what each variant of the matrix sets
}

func newCheckAnswer(path string, variants []manifest.Variant) checkAnswer {
	c := checkAnswer{Manifest: path, Name: variants[0].Manifest.Name}
	for _, v := range variants {
		if len(v.Set) > 0 {
			c.Variants = append(c.Variants, v.Set)
		}
	}
	return c
}

func (c checkAnswer) Text(w io.Writer) {
	fmt.Fprintf(w, "%s is a manifest of %s\n", ui.Printable(c.Manifest), c.Name)
	for _, set := range c.Variants {
		fmt.Fprintf(w, "variant %s\n", ui.Printable(manifest.Variant{Set: set}.Title()))
	}
}

func (a *app) render() *cobra.Command {
	return &cobra.Command{
		Use:   "render [MANIFEST]",
		Short: "Print a manifest with every default written out",
		Long: `Render prints the manifest that a build works with: every key, in a fixed order,
every default resolved. The output is a manifest itself, and means the same; a matrix
stays one.`,
		Example: `  sandwich render
  diff <(sandwich render old.yaml) <(sandwich render new.yaml)`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(_ context.Context, args []string) (ui.Answer, error) {
			path := manifestArg(args)
			m, _, err := manifest.ReadFile(path)
			if err != nil {
				return nil, unreadable(path, err)
			}
			text, err := manifest.Render(m)
			return renderAnswer{text}, err
		}),
	}
}

type renderAnswer struct{ yaml []byte }

func (r renderAnswer) Text(w io.Writer) {
	_, _ = w.Write(r.yaml)
}

// MarshalJSON says the same manifest in JSON.
func (r renderAnswer) MarshalJSON() ([]byte, error) {
	var value any
	if err := yaml.Unmarshal(r.yaml, &value); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"manifest": value})
}

func (a *app) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of manifests",
		Long: `Schema prints the JSON Schema of the manifest's language, from which editors
complete and check while you write.`,
		Example: `  sandwich schema > manifest.schema.json
  # and as the first line of manifest.yaml:
  # yaml-language-server: $schema=manifest.schema.json`,
		Args:              between(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.verb(func(context.Context, []string) (ui.Answer, error) {
			text, err := manifest.Schema()
			return schemaAnswer{Schema: text}, err
		}),
	}
}

type schemaAnswer struct {
	Schema json.RawMessage `json:"schema"`
}

func (s schemaAnswer) Text(w io.Writer) {
	_, _ = w.Write(s.Schema)
}
