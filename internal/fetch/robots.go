package fetch

import (
	"net/http"
	"slices"
	"strings"
)

// robot is how this program is called in headers that speak to some programs only.
const robot = "sandwich"

// forbids returns the first of the directives that the X-Robots-Tag headers of an answer
// have for everybody or for this program: "noai, noimageai", or "sandwich: noai".
func forbids(h http.Header, directives []string) string {
	if len(directives) == 0 {
		return ""
	}
	for _, tag := range h.Values("X-Robots-Tag") {
		list := tag
		if agent, rest, ok := strings.Cut(tag, ":"); ok && !strings.Contains(agent, ",") {
			if !strings.EqualFold(strings.TrimSpace(agent), robot) {
				continue // as with unavailable_after: a date, which is no directive of ours
			}
			list = rest
		}
		for directive := range strings.SplitSeq(list, ",") {
			if directive = strings.ToLower(strings.TrimSpace(directive)); slices.Contains(directives, directive) {
				return directive
			}
		}
	}
	return ""
}
