package packagediff

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// flatten returns the scalars of a YAML or JSON document by their path, such as
// model.optimizer.name. Members of a list that have a name are found by it, wherever in
// the list they are.
func flatten(text []byte) (map[string]string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	flat := map[string]string{}
	f := flattener{values: flat, left: maxNodes}
	for _, node := range root.Content {
		if err := f.add("", node); err != nil {
			return nil, err
		}
	}
	return flat, nil
}

// maxNodes bounds what the aliases of a document may unfold to.
const maxNodes = 1 << 20

type flattener struct {
	values map[string]string
	left   int
}

func (f *flattener) add(path string, node *yaml.Node) error {
	if f.left--; f.left < 0 {
		return fmt.Errorf("more than %d values", maxNodes)
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if err := f.add(join(path, node.Content[i].Value), node.Content[i+1]); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		if flow, ok := scalars(node); ok {
			f.values[path] = flow
			return nil
		}
		for i, member := range node.Content {
			if err := f.add(join(path, nameOf(member, i)), member); err != nil {
				return err
			}
		}
	case yaml.AliasNode:
		return f.add(path, node.Alias)
	default:
		f.values[path] = node.Value
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// scalars writes a list without structure in one line.
func scalars(list *yaml.Node) (string, bool) {
	var values []string
	for _, member := range list.Content {
		if member.Kind != yaml.ScalarNode {
			return "", false
		}
		values = append(values, member.Value)
	}
	return "[" + strings.Join(values, ", ") + "]", true
}

// nameOf returns what a member of a list is called: what it says of itself, or its number.
func nameOf(member *yaml.Node, i int) string {
	if member.Kind == yaml.MappingNode {
		for k := 0; k+1 < len(member.Content); k += 2 {
			if key := member.Content[k].Value; key == "label" || key == "path" || key == "name" {
				return member.Content[k+1].Value
			}
		}
	}
	return strconv.Itoa(i + 1)
}

// fields compares values by path.
func fields(a, b map[string]string) []Field {
	var all []Field
	union := maps.Clone(a)
	if union == nil {
		union = map[string]string{}
	}
	maps.Copy(union, b)
	for _, path := range sortedKeys(union) {
		from, inA := a[path]
		to, inB := b[path]
		if from != to || inA != inB {
			all = append(all, Field{Path: path, From: from, To: to})
		}
	}
	return all
}

// metrics compares the numbers of the report, and those of stages of the user's own.
func (c *comparison) metrics(ctx context.Context) error {
	if err := c.metricsOf(ctx, metricsFile, ""); err != nil {
		return err
	}
	for _, key := range c.ownMetrics() {
		if err := c.metricsOf(ctx, key, strings.TrimSuffix(key, "metrics.json")); err != nil {
			return err
		}
	}
	return nil
}

// ownMetrics returns the files of numbers that stages of the user's own have left, of those
// that differ, sorted.
func (c *comparison) ownMetrics() []string {
	var keys []string
	for _, f := range slices.Concat(c.report.Added, c.report.Removed, c.report.Changed) {
		if own, err := path.Match("stages/*/metrics.json", f.Key); err == nil && own || f.Key == "model/metrics.json" {
			keys = append(keys, f.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

// metricsOf compares the numbers of a file, which are told behind a prefix. Which pictures
// were taken for what is left to the report itself.
func (c *comparison) metricsOf(ctx context.Context, key, prefix string) error {
	sides, err := c.flat(ctx, key)
	if err != nil {
		return err
	}
	for _, f := range fields(sides[0], sides[1]) {
		if strings.HasPrefix(f.Path, "confusion") {
			continue
		}
		m := Metric{Name: prefix + f.Path, From: number(f.From), To: number(f.To)}
		if m.From == nil && m.To == nil {
			continue // a name
		}
		if m.From != nil && m.To != nil {
			change := *m.To - *m.From
			m.Change = &change
		}
		c.report.Metrics = append(c.report.Metrics, m)
	}
	return nil
}

func number(text string) *float64 {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil
	}
	return &x
}

// lacking returns the keys of a that b does not have, sorted.
func lacking(a, b map[string]string) []string {
	var keys []string
	for _, key := range sortedKeys(a) {
		if _, ok := b[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
