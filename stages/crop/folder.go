package crop

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFolder bounds a folder's name, in bytes; file systems allow 255.
const maxFolder = 200

// folders returns the folder of each label. Two labels that would share one, also on a
// file system that does not tell capital letters apart, are an error.
func folders(labels []string) (map[string]string, error) {
	byLabel := make(map[string]string, len(labels))
	owner := make(map[string]string, len(labels))
	for _, label := range slices.Sorted(slices.Values(labels)) {
		name := folder(label)
		key := strings.ToLower(name)
		if other, ok := owner[key]; ok {
			return nil, fmt.Errorf("labels %q and %q would share the folder %q: give one of them another name with `as`", other, label, name)
		}
		owner[key], byLabel[label] = label, name
	}
	return byLabel, nil
}

// folder returns the name of a label's folder: the label, with an underscore for spaces
// and slashes, as the article has it, and for whatever some file system refuses.
func folder(label string) string {
	name := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, label)
	if len(name) > maxFolder {
		name = strings.ToValidUTF8(name[:maxFolder], "")
	}
	if trimmed := strings.Trim(name, "."); trimmed != name || name == "" {
		name = "_" + trimmed // hidden, the parent, or what Windows drops
	}
	return name
}
