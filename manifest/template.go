package manifest

import (
	_ "embed"
	"strings"
)

//go:embed template.yaml
var template string

// Template is a commented manifest to start from: the article's build, sandwiches
// against hamburgers, as a package of the given name.
func Template(name string) []byte {
	return []byte(strings.Replace(template, "name: NAME", "name: "+name, 1))
}
