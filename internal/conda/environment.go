// Package conda asks conda's own tools which packages an environment.yml comes to.
//
// Everything that a tool knows of (credentials and proxies in its settings, the virtual packages of the
// machine such as __glibc) counts as it does for `conda env create`, but for the channels, which are those of
// the file alone. Nothing is installed.
package conda

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/manifest"
)

// Environment is what an environment.yml asks for.
type Environment struct {
	Channels  []string // in the order of preference
	Specs     []string // such as "numpy >=2"
	Variables map[string]string
}

// Parse reads an environment.yml. file is its path, as faults name it. The error is a *manifest.Faults.
func Parse(file string, text []byte) (*Environment, error) {
	r := reader{file: file}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		r.faults = append(r.faults, manifest.Fault{File: file, Line: 1, Column: 1, Message: "no YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")})
		return nil, &r.faults
	}
	e := new(Environment)
	if len(doc.Content) == 0 {
		r.fault(&yaml.Node{Line: 1, Column: 1}, "", "want channels and dependencies, got nothing", "")
	} else {
		r.environment(doc.Content[0], e)
	}
	if len(r.faults) > 0 {
		return nil, &r.faults
	}
	return e, nil
}

// reader collects the faults of a file.
type reader struct {
	file   string
	faults manifest.Faults
}

func (r *reader) fault(n *yaml.Node, at, message, hint string) {
	r.faults = append(r.faults, manifest.Fault{File: r.file, Line: n.Line, Column: n.Column, Path: at, Message: message, Hint: hint})
}

func (r *reader) environment(root *yaml.Node, e *Environment) {
	seen := r.pairs(root, "", func(key, value *yaml.Node) {
		switch key.Value {
		case "channels":
			e.Channels = r.channels(value)
		case "dependencies":
			e.Specs = r.dependencies(value)
		case "variables":
			e.Variables = r.variables(value)
		case "name", "prefix": // where conda would put it
		default:
			r.fault(key, key.Value, "unknown key", "an environment has name, channels, dependencies and variables")
		}
	})
	for _, key := range []string{"channels", "dependencies"} {
		if seen != nil && !slices.Contains(seen, key) {
			r.fault(root, key, "missing", "")
		}
	}
}

// pairs goes through a mapping, and returns its keys; nil when it is none.
func (r *reader) pairs(n *yaml.Node, at string, use func(key, value *yaml.Node)) []string {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, at, "want a mapping", "")
		return nil
	}
	seen := []string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		if slices.Contains(seen, key.Value) {
			r.fault(key, key.Value, "given twice", "")
			continue
		}
		seen = append(seen, key.Value)
		use(key, value)
	}
	return seen
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// items goes through a list that must have some.
func (r *reader) items(n *yaml.Node, at string, use func(item *yaml.Node, at string)) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fault(n, at, "want a list, with one item or more", "")
		return
	}
	for i, item := range n.Content {
		use(resolved(item), fmt.Sprintf("%s[%d]", at, i))
	}
}

// word reads a text of one line, which no tool takes for an option.
func (r *reader) word(n *yaml.Node, at, want string) (string, bool) {
	text := strings.TrimSpace(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || text == "" || text[0] == '-' || strings.ContainsAny(text, "\n\r\x00") {
		r.fault(n, at, "want "+want, "")
		return "", false
	}
	return text, true
}

// noDefaults keeps conda from adding the channels of its settings, which are not asked here anyway.
const noDefaults = "nodefaults"

func (r *reader) channels(n *yaml.Node) []string {
	var all []string
	r.items(n, "channels", func(item *yaml.Node, at string) {
		if text, ok := r.word(item, at, "a channel, as in conda-forge, https://example.org/channel or ./channel"); ok && text != noDefaults {
			all = append(all, text)
		}
	})
	if len(all) == 0 && len(r.faults) == 0 {
		r.fault(n, "channels", "want a channel to find packages in", "those of conda's own settings are not asked, or the file would mean something else elsewhere")
	}
	return all
}

func (r *reader) dependencies(n *yaml.Node) []string {
	var all []string
	r.items(n, "dependencies", func(item *yaml.Node, at string) {
		if item.Kind == yaml.MappingNode {
			r.fault(item, at, "packages of pip's are not installed into an environment of conda's",
				"name conda's packages of them, or take requirements and `environment: {pip: …}` instead")
			return
		}
		if text, ok := r.word(item, at, "a package, as in numpy >=2"); ok {
			all = append(all, text)
		}
	})
	return all
}

func (r *reader) variables(n *yaml.Node) map[string]string {
	all := make(map[string]string)
	r.pairs(n, "variables", func(key, value *yaml.Node) {
		at := "variables." + key.Value
		switch {
		case value.Kind != yaml.ScalarNode || value.Tag == "!!null" || strings.Contains(value.Value, "\x00"):
			r.fault(value, at, "want a text", "")
		case key.Value == "" || strings.ContainsAny(key.Value, "=\x00"):
			r.fault(key, at, "no name of a variable", "")
		default:
			all[key.Value] = value.Value
		}
	})
	return all
}

// absolute gives channels that are folders, relative to dir, the URLs that every tool knows.
func absolute(channels []string, dir string) []string {
	all := slices.Clone(channels)
	for i, c := range all {
		if !strings.HasPrefix(c, "./") && !strings.HasPrefix(c, "../") && !path.IsAbs(c) {
			continue
		}
		folder := filepath.FromSlash(c)
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		all[i] = (&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}).String()
	}
	return all
}
