// Package lock is the file beside the manifest that pins what the manifest names:
// every metadata file, every photo, the commit of the user's sources, and what their own stages
// read and run in, by digest.
// With it, a build asks the world for nothing but bytes that it can verify.
//
// The file is text, one pin a line, sorted: a change of one photo is a change of one
// line, which diffs and merges of git show as that. It is canonical to the byte:
// equal locks have equal files, and Decode refuses a file that Encode would not have
// written.
//
//	sandwich lock 1
//	code 3dac9ddc0a7f… sha256:6f1e… clean
//	image sha256:5b0b… 10263 docker.io/library/python:3.12-slim
//	file sha256:77ac… 1204 train.py
//	python cpython-312-x86_64-linux-gnu lib/python3.12/site-packages
//	wheel sha256:9d1c… 15923108 https://files.pythonhosted.org/packages/…/numpy-2.1.0-….whl
//	platform linux-64
//	conda sha256:41ab… 7412352 https://conda.anaconda.org/conda-forge/linux-64/numpy-2.1.0-….conda
//	source sha256:f101… 11255 - https://storage.googleapis.com/openimages/2018_04/class-descriptions-boxable.csv
//	photo 000002b66c9c498e original sha256:a28f… 86291
//	dead 0000048549557964 no place has it
//
// Open Images has nine million photos, so that photos are read and written one after
// the other, in the order of their ids, and never held as a list. The package is pure but
// for Open and Write.
package lock

import (
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// FileName is the lock's name beside a manifest called manifest.yaml.
const FileName = "manifest.lock"

// Lock is the content of a lock file.
type Lock struct {
	Code   *Code  // nil when the manifest records no sources
	Image  *Image // nil when the manifest names no image
	Inputs []Input
	Python *Python // nil when the manifest asks for no wheels
	Wheels []Archive
	// Platform is what packages of conda's are for, such as linux-64; empty when the manifest asks for none.
	Platform string
	Conda    []Archive
	Sources  []Source
	Photos   Photos
}

// Photos are the pins of photos in the order of their ids. The first error ends them. They
// can be gone through more than once; nil has none.
type Photos iter.Seq2[Photo, error]

// All goes through the photos.
func (p Photos) All() iter.Seq2[Photo, error] {
	if p == nil {
		return func(func(Photo, error) bool) {}
	}
	return iter.Seq2[Photo, error](p)
}

// Code pins the user's own sources.
type Code struct {
	Commit string        // the git commit, in hex
	Tree   digest.Digest // the sources' content, without the lock file, which lies among them
	Dirty  bool          // the work tree was not the commit
}

// Image pins the image that stages run in.
type Image struct {
	Digest digest.Digest // of its manifest, or of its index of manifests
	Size   int64         // bytes of that
	Name   string        // as the manifest has it
}

// Input pins a file that stages of the user's own read.
type Input struct {
	Path   string // slash-separated, relative to the manifest; the key
	Digest digest.Digest
	Size   int64 // bytes
}

// Python pins the interpreter that wheels are for, as far as it decides which they are and where
// they lie.
type Python struct {
	ABI  string // as extension modules are tagged: "cpython-312-x86_64-linux-gnu"
	Site string // where packages are, slash-separated, in the folder of an environment
}

// Archive pins what the user's own stages run with: a wheel, or a package of conda's.
type Archive struct {
	URL    string // or, of conda's, a path relative to the manifest; the key. The last part of it is the file's name
	Digest digest.Digest
	Size   int64 // bytes
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

// Source finds the pin of a metadata file.
func (l *Lock) Source(url string) (Source, bool) {
	i := slices.IndexFunc(l.Sources, func(s Source) bool { return s.URL == url })
	if i < 0 {
		return Source{}, false
	}
	return l.Sources[i], true
}

const (
	maxID   = 128  // bytes of a photo's id
	maxText = 4096 // bytes of a URL or a reason
)

// commitForm is SHA-1, or git's SHA-256.
var commitForm = lazyregexp.New(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// The check methods say what is wrong with a pin. They hold for what is read as for
// what is written, so that what Encode writes, Decode reads.

func (c Code) check() error {
	if !commitForm.MatchString(c.Commit) {
		return fmt.Errorf("want a commit in lower-case hex, got %q", c.Commit)
	}
	return checkDigest(c.Tree)
}

func (i Image) check() error {
	if err := checkText("name", i.Name); err != nil {
		return err
	}
	return checkBlob(i.Digest, i.Size)
}

func (i Input) check() error {
	if err := checkText("path", i.Path); err != nil {
		return err
	}
	return checkBlob(i.Digest, i.Size)
}

// abiForm is one word.
var abiForm = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

func (p Python) check() error {
	if !abiForm.MatchString(p.ABI) {
		return fmt.Errorf("want the ABI of a Python, as in cpython-312-x86_64-linux-gnu, got %q", p.ABI)
	}
	if !fs.ValidPath(p.Site) || p.Site == "." {
		return fmt.Errorf("want the folder of a Python's packages, got %q", p.Site)
	}
	return checkText("folder", p.Site)
}

func (a Archive) check() error {
	if err := checkText("URL", a.URL); err != nil {
		return err
	}
	return checkBlob(a.Digest, a.Size)
}

// platformForm is a system and an architecture.
var platformForm = lazyregexp.New(`^[a-z]+-[a-z0-9]+$`)

func checkPlatform(name string) error {
	if !platformForm.MatchString(name) {
		return fmt.Errorf("want a platform, as in linux-64, got %q", name)
	}
	return nil
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
	if !isPlace(p.Place) {
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

// isPlace says whether s is one short word, in lower case.
func isPlace(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return s != "" && len(s) <= 32
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
