// Package lock is the file beside the manifest that pins what the manifest names:
// every metadata file, every photo and the commit of the user's sources, by digest.
// With it, a build asks the world for nothing but bytes that it can verify.
//
// The file is text, one pin a line, sorted: a change of one photo is a change of one
// line, which diffs and merges of git show as that. It is canonical to the byte:
// equal locks have equal files, and Decode refuses a file that Encode would not have
// written.
//
//	sandwich lock 1
//	code 3dac9ddc0a7f… sha256:6f1e… clean
//	source sha256:f101… 11255 - https://storage.googleapis.com/openimages/2018_04/class-descriptions-boxable.csv
//	photo 000002b66c9c498e original sha256:a28f… 86291
//	dead 0000048549557964 no place has it
//
// The package is pure but for Read and WriteFile.
package lock

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// FileName is the lock's name beside a manifest called manifest.yaml.
const FileName = "manifest.lock"

// Lock is the content of a lock file. Its order does not matter: Encode sorts.
type Lock struct {
	Code    *Code // nil when the manifest records no sources
	Sources []Source
	Photos  []Photo
}

// Code pins the user's own sources.
type Code struct {
	Commit string        // the git commit, in hex
	Tree   digest.Digest // the sources' content, without the lock file, which lies among them
	Dirty  bool          // the work tree was not the commit
}

// Source pins one metadata file.
type Source struct {
	URL    string // or a path, as the manifest has it; the key
	Digest digest.Digest
	Size   int64  // bytes
	MD5    string // the official sum it was checked against, in hex; empty when none is known
}

// Photo pins one photo, or says that it is dead: that no place had it when the lock
// was made. A dead photo is a tombstone, so that a rebuild does not depend on
// whether a link has come back.
type Photo struct {
	ID     string // the key
	Place  string // original, thumbnail or cvdf; with the image row it tells the URL
	Digest digest.Digest
	Size   int64  // bytes
	Dead   string // why it is dead; when set, Place, Digest and Size are not
}

// Source finds the pin of a metadata file in a decoded lock.
func (l *Lock) Source(url string) (Source, bool) {
	return find(l.Sources, url, Source.key)
}

// Photo finds the pin or tombstone of a photo in a decoded lock.
func (l *Lock) Photo(id string) (Photo, bool) {
	return find(l.Photos, id, Photo.key)
}

// find needs the order that Decode and Sort leave.
func find[T any](items []T, key string, keyOf func(T) string) (T, bool) {
	i, ok := slices.BinarySearchFunc(items, key, func(item T, key string) int { return cmp.Compare(keyOf(item), key) })
	if !ok {
		var zero T
		return zero, false
	}
	return items[i], true
}

func (s Source) key() string { return s.URL }
func (p Photo) key() string  { return p.ID }

// Sort brings the lock into the order of its file, in place. Decode returns a sorted
// lock; one that was put together by hand must be sorted before Source and Photo
// find anything in it.
func (l *Lock) Sort() {
	slices.SortFunc(l.Sources, byKey(Source.key))
	slices.SortFunc(l.Photos, byKey(Photo.key))
}

func byKey[T any](keyOf func(T) string) func(a, b T) int {
	return func(a, b T) int { return cmp.Compare(keyOf(a), keyOf(b)) }
}

// sorted is items in order, without changing the caller's slice.
func sorted[T any](items []T, keyOf func(T) string) []T {
	if slices.IsSortedFunc(items, byKey(keyOf)) {
		return items
	}
	items = slices.Clone(items)
	slices.SortFunc(items, byKey(keyOf))
	return items
}

const (
	maxID   = 128  // bytes of a photo's id
	maxText = 4096 // bytes of a URL or a reason
)

var (
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`) // SHA-1, or git's SHA-256
	placeForm  = regexp.MustCompile(`^[a-z]{1,32}$`)
)

// The check methods say what is wrong with a pin. They hold for what is read as for
// what is written, so that what Encode writes, Decode reads.

func (c Code) check() error {
	if !commitForm.MatchString(c.Commit) {
		return fmt.Errorf("want a commit in lower-case hex, got %q", c.Commit)
	}
	return checkDigest(c.Tree)
}

func (s Source) check() error {
	if err := checkText("URL", s.URL); err != nil {
		return err
	}
	if s.MD5 != "" && !isHex(s.MD5, 32) {
		return fmt.Errorf("want an MD5 sum of 32 lower-case hex digits, got %q", s.MD5)
	}
	return checkBlob(s.Digest, s.Size)
}

func (p Photo) check() error {
	if !isID(p.ID) {
		return fmt.Errorf("want a photo's id of letters, digits, _, - and ., got %q", p.ID)
	}
	if p.Dead != "" {
		if p.Place != "" || p.Digest != "" || p.Size != 0 {
			return fmt.Errorf("photo %s is both dead and pinned", p.ID)
		}
		return checkText("reason", p.Dead)
	}
	if !placeForm.MatchString(p.Place) {
		return fmt.Errorf("want a place such as original, got %q", p.Place)
	}
	return checkBlob(p.Digest, p.Size)
}

func checkBlob(d digest.Digest, size int64) error {
	if size < 0 {
		return fmt.Errorf("want a size in bytes, got %d", size)
	}
	return checkDigest(d)
}

// checkDigest is Digest.Validate for the one algorithm there is. It runs a million
// times a file, where the library's regular expressions would take most of the time.
func checkDigest(d digest.Digest) error {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || !isHex(hex, 64) {
		return fmt.Errorf("want sha256: and 64 lower-case hex digits, got %q", string(d))
	}
	return nil
}

func isHex(s string, length int) bool {
	if len(s) != length {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isID says whether s is one word that is safe as a file's name.
func isID(s string) bool {
	if s == "" || len(s) > maxID || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// checkText accepts what stands at the end of a line and is read back unchanged.
func checkText(what, s string) error {
	switch {
	case s == "" || strings.TrimSpace(s) != s:
		return fmt.Errorf("want a %s without space around it, got %q", what, s)
	case len(s) > maxText:
		return fmt.Errorf("want a %s of at most %d bytes, got %d", what, maxText, len(s))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("want a %s without control characters, got %q", what, s)
	}
	return nil
}
