package lock

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// header is the first line. The number is the format's version.
const header = "sandwich lock 1"

// Encode is the lock's file. It refuses a lock that Decode could not read back:
// the same photo twice, an id that is no file name, a reason of two lines.
func Encode(l *Lock) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(128 + 256*len(l.Sources) + 128*len(l.Photos))
	b.WriteString(header + "\n")
	if l.Code != nil {
		if err := l.Code.check(); err != nil {
			return nil, fmt.Errorf("encode lock: code: %w", err)
		}
		l.Code.encode(&b)
	}
	if err := encode(&b, sorted(l.Sources, Source.key), Source.key); err != nil {
		return nil, fmt.Errorf("encode lock: source: %w", err)
	}
	if err := encode(&b, sorted(l.Photos, Photo.key), Photo.key); err != nil {
		return nil, fmt.Errorf("encode lock: photo: %w", err)
	}
	return b.Bytes(), nil
}

// pin is a line of the file.
type pin interface {
	check() error
	encode(b *bytes.Buffer)
}

func encode[T pin](b *bytes.Buffer, pins []T, keyOf func(T) string) error {
	for i, p := range pins {
		if err := p.check(); err != nil {
			return err
		}
		if i > 0 && keyOf(p) == keyOf(pins[i-1]) {
			return fmt.Errorf("%s is pinned twice", keyOf(p))
		}
		p.encode(b)
	}
	return nil
}

func (c Code) encode(b *bytes.Buffer) {
	state := "clean"
	if c.Dirty {
		state = "dirty"
	}
	writeLine(b, "code", c.Commit, string(c.Tree), state)
}

func (s Source) encode(b *bytes.Buffer) {
	md5 := "-"
	if s.MD5 != "" {
		md5 = s.MD5
	}
	writeLine(b, "source", string(s.Digest), strconv.FormatInt(s.Size, 10), md5, s.URL)
}

func (p Photo) encode(b *bytes.Buffer) {
	if p.Dead != "" {
		writeLine(b, "dead", p.ID, p.Dead)
		return
	}
	writeLine(b, "photo", p.ID, p.Place, string(p.Digest), strconv.FormatInt(p.Size, 10))
}

func writeLine(b *bytes.Buffer, words ...string) {
	for i, word := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	b.WriteByte('\n')
}

// FormatError is a file that is not a lock, or not a whole one.
type FormatError struct {
	File    string
	Line    int // from 1
	Message string
	Hint    string // what to do about it; may be empty
}

// Error is the fault in one line: file:line: message (hint).
func (e *FormatError) Error() string {
	s := fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Decode reads a lock file; filename is what the error, a *FormatError, calls it. It
// is strict: what it accepts, Encode gives back byte for byte. The lock's strings
// share the memory of one copy of src.
func Decode(filename string, src []byte) (*Lock, error) {
	p := &parser{rest: string(src)}
	l, err := p.lock()
	if err != nil {
		message, hint := err.Error(), ""
		switch {
		case isConflictMarker(p.line):
			message = "a git merge left its markers here"
			hint = "take either side of each conflict, then run `sandwich lock`"
		case strings.HasSuffix(p.line, "\r"):
			message = "the line ends with CR LF"
			hint = "git changed it: put `" + FileName + " -text` into .gitattributes"
		}
		return nil, &FormatError{File: filename, Line: p.number, Message: message, Hint: hint}
	}
	return l, nil
}

func isConflictMarker(line string) bool {
	for _, marker := range []string{"<<<<<<<", "|||||||", "=======", ">>>>>>>"} {
		if strings.HasPrefix(line, marker) {
			return true
		}
	}
	return false
}

// parser walks the lines of a file.
type parser struct {
	rest   string // what follows the line
	line   string
	number int // of the line, from 1
}

// next moves to the next line and says whether there is one.
func (p *parser) next() (bool, error) {
	p.number++
	p.line = ""
	if p.rest == "" {
		return false, nil
	}
	line, rest, whole := strings.Cut(p.rest, "\n")
	p.line, p.rest = line, rest
	if !whole {
		return false, fmt.Errorf("the last line is cut off")
	}
	return true, nil
}

func (p *parser) lock() (*Lock, error) {
	if ok, err := p.next(); err != nil || !ok || p.line != header {
		return nil, fmt.Errorf("want %q on the first line, got %s", header, quote(p.line))
	}
	// Almost every line is a photo. A file that is no lock asks for little.
	l := &Lock{Photos: make([]Photo, 0, min(strings.Count(p.rest, "\n"), 1<<20))}
	for {
		ok, err := p.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return l, nil
		}
		if err := p.pin(l); err != nil {
			return nil, err
		}
	}
}

// pin adds the line to the lock, if it may follow what the lock holds.
func (p *parser) pin(l *Lock) error {
	word, rest, _ := strings.Cut(p.line, " ")
	switch word {
	case "code":
		if l.Code != nil || len(l.Sources) > 0 || len(l.Photos) > 0 {
			return fmt.Errorf("the code is one line, before sources and photos")
		}
		c, err := parseCode(rest)
		l.Code = &c
		return err
	case "source":
		if len(l.Photos) > 0 {
			return fmt.Errorf("sources come before photos")
		}
		return add(&l.Sources, rest, parseSource, Source.key)
	case "photo":
		return add(&l.Photos, rest, parsePhoto, Photo.key)
	case "dead":
		return add(&l.Photos, rest, parseDead, Photo.key)
	default:
		return fmt.Errorf("want code, source, photo or dead, got %s", quote(p.line))
	}
}

func add[T pin](to *[]T, text string, parse func(string) (T, error), keyOf func(T) string) error {
	item, err := parse(text)
	if err != nil {
		return err
	}
	if err := item.check(); err != nil {
		return err
	}
	if n := len(*to); n > 0 && keyOf((*to)[n-1]) >= keyOf(item) {
		return fmt.Errorf("%s does not sort behind %s", quote(keyOf(item)), quote(keyOf((*to)[n-1])))
	}
	*to = append(*to, item)
	return nil
}

func parseCode(text string) (Code, error) {
	var words [3]string
	if err := split(text, words[:], "commit digest clean|dirty"); err != nil {
		return Code{}, err
	}
	if words[2] != "clean" && words[2] != "dirty" {
		return Code{}, fmt.Errorf("want clean or dirty, got %s", quote(words[2]))
	}
	c := Code{Commit: words[0], Tree: digest.Digest(words[1]), Dirty: words[2] == "dirty"}
	return c, c.check()
}

func parseSource(text string) (Source, error) {
	var words [4]string
	if err := split(text, words[:], "digest size md5|- URL"); err != nil {
		return Source{}, err
	}
	size, err := parseSize(words[1])
	s := Source{Digest: digest.Digest(words[0]), Size: size, MD5: words[2], URL: words[3]}
	if s.MD5 == "-" {
		s.MD5 = ""
	}
	return s, err
}

func parsePhoto(text string) (Photo, error) {
	var words [4]string
	if err := split(text, words[:], "id place digest size"); err != nil {
		return Photo{}, err
	}
	size, err := parseSize(words[3])
	return Photo{ID: words[0], Place: words[1], Digest: digest.Digest(words[2]), Size: size}, err
}

func parseDead(text string) (Photo, error) {
	var words [2]string
	err := split(text, words[:], "id reason")
	return Photo{ID: words[0], Dead: words[1]}, err
}

// split cuts text at single spaces into all words; the last one keeps its spaces.
func split(text string, words []string, want string) error {
	for i := range words {
		word, rest, more := strings.Cut(text, " ")
		if i == len(words)-1 {
			word = text
		} else if !more {
			return fmt.Errorf("want %s, got too few words", want)
		}
		if word == "" {
			return fmt.Errorf("want %s, got an empty word", want)
		}
		words[i], text = word, rest
	}
	return nil
}

// parseSize reads a number of bytes in its one spelling.
func parseSize(text string) (int64, error) {
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(size, 10) != text {
		return 0, fmt.Errorf("want a size in bytes, got %s", quote(text))
	}
	return size, nil
}

// quote keeps a message on one line whatever the file holds.
func quote(s string) string {
	const limit = 80
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strconv.Quote(s)
}
