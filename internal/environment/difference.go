package environment

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Differences returns in what n differs from an earlier environment, a line each: "go:
// go1.26.8, was go1.25.1".
func (n Native) Differences(was Native) []string {
	var lines []string
	add := func(what, old, now string) {
		if old != now {
			lines = append(lines, fmt.Sprintf("%s: %s, was %s", what, cmp.Or(now, "none"), cmp.Or(old, "none")))
		}
	}
	add("go", was.Go, n.Go)
	add("operating system", was.OS, n.OS)
	add("architecture", was.Arch, n.Arch)
	for _, name := range keys(was.Target, n.Target) {
		add(name, was.Target[name], n.Target[name])
	}
	add("processor", strings.Join(was.CPU, " "), strings.Join(n.CPU, " "))
	old, now := versions(was.Modules), versions(n.Modules)
	for _, path := range keys(old, now) {
		add("module "+path, old[path], now[path])
	}
	add("backend", was.Backend, n.Backend)
	return lines
}

// versions maps the path by which each module is imported to what it really is.
func versions(modules []Module) map[string]string {
	all := make(map[string]string, len(modules))
	for _, m := range modules {
		all[m.of()] = strings.TrimSpace(fmt.Sprintf("%s %s", m.Version, m.Sum))
		if m.For != "" {
			all[m.of()] = m.Path + " " + all[m.of()]
		}
	}
	return all
}

// keys returns the keys of both maps, sorted.
func keys(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
