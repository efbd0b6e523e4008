// Package lazyregexp has regular expressions that are compiled when they are needed for the
// first time. To compile those of the manifest, of locks and of wheels takes more than a millisecond, a
// tenth of the start of a program that reads none of these.
package lazyregexp

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression.
type Regexp struct {
	text     string
	compiled func() *regexp.Regexp
}

// New returns an expression. Its first use panics if it is none.
func New(text string) *Regexp {
	return &Regexp{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// String returns the expression.
func (r *Regexp) String() string { return r.text }

// MatchString says whether a text matches.
func (r *Regexp) MatchString(text string) bool { return r.compiled().MatchString(text) }

// FindStringSubmatch returns the first match in a text and its groups, nil if there is none.
func (r *Regexp) FindStringSubmatch(text string) []string {
	return r.compiled().FindStringSubmatch(text)
}

// ReplaceAllString replaces each match in a text.
func (r *Regexp) ReplaceAllString(text, by string) string {
	return r.compiled().ReplaceAllString(text, by)
}
