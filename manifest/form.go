package manifest

import (
	"regexp"
	"sync"
)

// form is a regular expression that is compiled when it is needed for the first time. To
// compile those of the whole language takes most of a millisecond, a tenth of the start of
// a program that reads no manifest.
type form struct {
	text     string
	compiled func() *regexp.Regexp
}

func newForm(text string) *form {
	return &form{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// String returns the expression.
func (f *form) String() string { return f.text }

// MatchString says whether a text is of the form.
func (f *form) MatchString(text string) bool { return f.compiled().MatchString(text) }

// FindStringSubmatch returns a text and its groups, nil if it is not of the form.
func (f *form) FindStringSubmatch(text string) []string {
	return f.compiled().FindStringSubmatch(text)
}
