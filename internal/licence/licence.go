// Package licence knows the licences of Creative Commons by their names and their URLs:
// "CC BY-SA 2.0", the SPDX identifier CC-BY-SA-2.0 and
// https://creativecommons.org/licenses/by-sa/2.0/ are one licence.
package licence

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// Licence is a licence. The zero Licence is none that is known.
type Licence struct {
	code    string // of Creative Commons, as it stands in URLs: by, by-sa, …, zero, mark
	version string // such as 2.0; empty for any
	url     string // of another licence, without scheme and without a slash at its end
}

// codes are those of Creative Commons, with the start of their URL and their names.
var codes = []struct{ code, folder, name string }{
	{"by", "licenses", "CC BY"},
	{"by-sa", "licenses", "CC BY-SA"},
	{"by-nd", "licenses", "CC BY-ND"},
	{"by-nc", "licenses", "CC BY-NC"},
	{"by-nc-sa", "licenses", "CC BY-NC-SA"},
	{"by-nc-nd", "licenses", "CC BY-NC-ND"},
	{"zero", "publicdomain", "CC0"},
	{"mark", "publicdomain", "Public Domain Mark"},
}

// Names are the names of the licences, without a version.
func Names() []string {
	var names []string
	for _, c := range codes {
		names = append(names, c.name)
	}
	return names
}

var (
	separators = lazyregexp.New(`[\s_-]+`)
	versioned  = lazyregexp.New(`^(.*?)-?([1-9]\.[0-9])?$`)
)

// Parse reads the name or the URL of a licence. A URL that is not one of Creative Commons
// is a licence of its own.
func Parse(text string) (Licence, error) {
	text = strings.TrimSpace(text)
	if u, err := url.Parse(text); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return ofURL(u), nil
	}
	name := strings.Trim(separators.ReplaceAllString(strings.ToLower(text), "-"), "-")
	parts := versioned.FindStringSubmatch(name)
	for _, c := range codes {
		long := strings.ToLower(separators.ReplaceAllString(c.name, "-"))
		if parts[1] != "" && slices.Contains([]string{long, strings.TrimPrefix(long, "cc-")}, parts[1]) {
			return Licence{code: c.code, version: parts[2]}, nil
		}
	}
	return Licence{}, fmt.Errorf("want the URL of a licence, or a name such as CC BY 2.0 or CC-BY-2.0, of %s", strings.Join(Names(), ", "))
}

// ofURL returns the licence at a URL: …/licenses/by-sa/2.0/de/deed.de is by-sa 2.0.
func ofURL(u *url.URL) Licence {
	host := strings.TrimPrefix(strings.ToLower(u.Host), "www.")
	segments := strings.Split(strings.Trim(u.Path, "/"), "/")
	if host == "creativecommons.org" && len(segments) >= 2 {
		for _, c := range codes {
			if segments[0] != c.folder || !strings.EqualFold(segments[1], c.code) {
				continue
			}
			l := Licence{code: c.code}
			if len(segments) > 2 {
				l.version = segments[2]
			}
			return l
		}
	}
	return Licence{url: host + strings.TrimRight(u.Path, "/")}
}

// Covers reports whether a licence is another, or any version of it.
func (l Licence) Covers(other Licence) bool {
	if l == (Licence{}) {
		return false
	}
	return l == other || l.version == "" && l.code != "" && l.code == other.code
}

// String returns the licence's name, or its URL where it has none.
func (l Licence) String() string {
	for _, c := range codes {
		if c.code == l.code {
			return strings.TrimSpace(c.name + " " + l.version)
		}
	}
	return l.url
}
