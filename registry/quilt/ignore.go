package quilt

import "strings"

// IgnoreFile is the name of the file in a folder that says what of it is no part of a
// package.
const IgnoreFile = ".quiltignore"

// Ignore are the rules of such a file. They are Quilt's, which are not git's: every line is
// a pattern for the end of a path, from a slash on; * and ? stand for slashes too; there
// are no comments, no exceptions, and a space at the end counts. What is in a folder that
// a rule fits is left out with it.
//
// quilt3 compares with the path from the root of the machine. Here the folder has no name
// that a rule could mean, so that what is packaged does not depend on where it is.
type Ignore struct{ patterns [][]rune }

// nowhere is the path of the folder, as rules see it.
const nowhere = "/\x00/"

// ParseIgnore returns the rules of a file.
func ParseIgnore(text string) Ignore {
	var rules Ignore
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			rules.patterns = append(rules.patterns, []rune("*/"+line))
		}
	}
	return rules
}

// Match reports whether the rules leave out the file or folder with a key, taken for itself:
// a folder that is left out is not looked into.
func (r Ignore) Match(key string, folder bool) bool {
	path := []rune(nowhere + key)
	for _, pattern := range r.patterns {
		if fits(pattern, path) || folder && fits(pattern, append(path, '/')) {
			return true
		}
	}
	return false
}

// fits reports whether a pattern of Python's fnmatch fits all of a text.
func fits(pattern, text []rune) bool {
	// Where to go on when what follows the latest star does not fit: the star then takes
	// one more of the text.
	afterStar, taken := -1, 0
	p, t := 0, 0
	for p < len(pattern) || t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			afterStar, taken = p, t
			continue
		}
		if t < len(text) && p < len(pattern) {
			if ok, next := fitsOne(pattern, p, text[t]); ok {
				p, t = next, t+1
				continue
			}
		}
		if afterStar < 0 || taken == len(text) {
			return false
		}
		taken++
		p, t = afterStar, taken
	}
	return true
}

// fitsOne reports whether the part of a pattern that starts at p fits a character, and
// where the next part starts.
func fitsOne(pattern []rune, p int, c rune) (ok bool, next int) {
	switch pattern[p] {
	case '?':
		return true, p + 1
	case '[':
		if end := classEnd(pattern, p); end > 0 {
			return inClass(pattern[p+1:end], c), end + 1
		}
	}
	return pattern[p] == c, p + 1
}

// classEnd returns where the bracket is that closes the one at p; 0 where there is none, so
// that the one at p stands for itself.
func classEnd(pattern []rune, p int) int {
	end := p + 1
	if end < len(pattern) && pattern[end] == '!' {
		end++
	}
	if end < len(pattern) && pattern[end] == ']' {
		end++ // stands for itself
	}
	for ; end < len(pattern); end++ {
		if pattern[end] == ']' {
			return end
		}
	}
	return 0
}

// inClass reports whether a character is one of those between brackets.
func inClass(class []rune, c rune) bool {
	in := true
	if len(class) > 0 && class[0] == '!' {
		in, class = false, class[1:]
	}
	for len(class) > 0 {
		if len(class) > 2 && class[1] == '-' {
			if class[0] <= c && c <= class[2] {
				return in
			}
			class = class[3:]
			continue
		}
		if class[0] == c {
			return in
		}
		class = class[1:]
	}
	return !in
}
