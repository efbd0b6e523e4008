package lock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// header is the first line. The number is the format's version.
const header = "sandwich lock 1"

// Encode writes the lock's file. It refuses a lock that Decode could not read back: photos
// that are not in order, an id that is no file name, a reason of two lines.
func Encode(w io.Writer, l *Lock) error {
	b := bufio.NewWriterSize(w, bufferSize)
	writeLine(b, header)
	if l.Code != nil {
		if err := l.Code.check(); err != nil {
			return fmt.Errorf("encode lock: code: %w", err)
		}
		l.Code.encode(b)
	}
	if l.Image != nil {
		if err := l.Image.check(); err != nil {
			return fmt.Errorf("encode lock: image: %w", err)
		}
		l.Image.encode(b)
	}
	if err := encode(b, sortedPins(l.Inputs)); err != nil {
		return fmt.Errorf("encode lock: file: %w", err)
	}
	if l.Python != nil {
		if err := l.Python.check(); err != nil {
			return fmt.Errorf("encode lock: python: %w", err)
		}
		l.Python.encode(b)
	}
	if err := encode(b, sortedPins(archiveLines("wheel", l.Wheels))); err != nil {
		return fmt.Errorf("encode lock: wheel: %w", err)
	}
	if l.Platform != "" {
		if err := checkPlatform(l.Platform); err != nil {
			return fmt.Errorf("encode lock: platform: %w", err)
		}
		writeLine(b, "platform", l.Platform)
	}
	if err := encode(b, sortedPins(archiveLines("conda", l.Conda))); err != nil {
		return fmt.Errorf("encode lock: conda: %w", err)
	}
	if err := encode(b, sortedPins(l.Sources)); err != nil {
		return fmt.Errorf("encode lock: source: %w", err)
	}
	if err := encode(b, l.Photos.All()); err != nil {
		return fmt.Errorf("encode lock: photo: %w", err)
	}
	if err := b.Flush(); err != nil { // which keeps the first error of all writes
		return fmt.Errorf("encode lock: %w", err)
	}
	return nil
}

// bufferSize is how much is read or written at once. No line is as long.
const bufferSize = 64 << 10

func sortedPins[T pin](pins []T) iter.Seq2[T, error] {
	pins = slices.SortedFunc(slices.Values(pins), func(a, b T) int { return strings.Compare(a.key(), b.key()) })
	return func(yield func(T, error) bool) {
		for _, p := range pins {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// keyed is what stands in the order of its keys.
type keyed interface {
	check() error
	key() string
}

// pin is a line of the file.
type pin interface {
	keyed
	encode(b *bufio.Writer)
}

// archiveLine is an archive behind the word of its sort.
type archiveLine struct {
	Archive
	word string
}

func archiveLines(word string, all []Archive) []archiveLine {
	lines := make([]archiveLine, len(all))
	for i, a := range all {
		lines[i] = archiveLine{a, word}
	}
	return lines
}

func encode[T pin](b *bufio.Writer, pins iter.Seq2[T, error]) error {
	last := ""
	for p, err := range pins {
		if err != nil {
			return err
		}
		if err := p.check(); err != nil {
			return err
		}
		if err := follows(last, p.key()); err != nil {
			return err
		}
		last = p.key()
		p.encode(b)
	}
	return nil
}

// follows says that a key may stand behind another; no key is empty.
func follows(last, key string) error {
	if key <= last {
		return fmt.Errorf("%s does not sort behind %s", quote(key), quote(last))
	}
	return nil
}

func (i Input) key() string   { return i.Path }
func (a Archive) key() string { return a.URL }
func (s Source) key() string  { return s.URL }
func (p Photo) key() string   { return p.ID }

func (c Code) encode(b *bufio.Writer) {
	state := "clean"
	if c.Dirty {
		state = "dirty"
	}
	writeLine(b, "code", c.Commit, string(c.Tree), state)
}

func (i Image) encode(b *bufio.Writer) {
	writeLine(b, "image", string(i.Digest), strconv.FormatInt(i.Size, 10), i.Name)
}

func (i Input) encode(b *bufio.Writer) {
	writeLine(b, "file", string(i.Digest), strconv.FormatInt(i.Size, 10), i.Path)
}

func (p Python) encode(b *bufio.Writer) { writeLine(b, "python", p.ABI, p.Site) }

func (a archiveLine) encode(b *bufio.Writer) {
	writeLine(b, a.word, string(a.Digest), strconv.FormatInt(a.Size, 10), a.URL)
}

func (s Source) encode(b *bufio.Writer) {
	md5 := "-"
	if s.MD5 != "" {
		md5 = s.MD5
	}
	writeLine(b, "source", string(s.Digest), strconv.FormatInt(s.Size, 10), md5, s.URL)
}

func (p Photo) encode(b *bufio.Writer) {
	if p.Dead != "" {
		writeLine(b, "dead", p.ID, p.Dead)
		return
	}
	writeLine(b, "photo", p.ID, p.Place, string(p.Digest), strconv.FormatInt(p.Size, 10))
}

func writeLine(b *bufio.Writer, words ...string) {
	for i, word := range words {
		if i > 0 {
			_ = b.WriteByte(' ') // Flush tells of all errors
		}
		_, _ = b.WriteString(word)
	}
	_ = b.WriteByte('\n')
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

// Decode reads a lock file of size bytes; filename is what errors, each a *FormatError,
// call it. It reads what stands before the photos. They are read whenever they are gone
// through, so src must not change, and what is wrong with one is told then.
//
// It is strict: what it accepts, Encode gives back byte for byte.
func Decode(filename string, src io.ReaderAt, size int64) (*Lock, error) {
	p := newParser(io.NewSectionReader(src, 0, size), 0)
	l, at, err := p.head()
	if err != nil {
		return nil, p.fault(filename, err)
	}
	before := p.number - 1
	l.Photos = func(yield func(Photo, error) bool) {
		p := newParser(io.NewSectionReader(src, at, size-at), before)
		if err := p.photos(yield); err != nil {
			yield(Photo{}, p.fault(filename, err))
		}
	}
	return l, nil
}

// fault is an error of the line that was read last.
func (p *parser) fault(filename string, err error) error {
	if p.failed != nil {
		return fmt.Errorf("read %s: %w", filename, p.failed)
	}
	message, hint := err.Error(), ""
	switch {
	case isConflictMarker(p.line):
		message = "a git merge left its markers here"
		hint = "take either side of each conflict, then run `sandwich lock`"
	case strings.HasSuffix(p.line, "\r"):
		message = "the line ends with CR LF"
		hint = "git changed it: put `" + FileName + " -text` into .gitattributes"
	}
	return &FormatError{File: filename, Line: p.number, Message: message, Hint: hint}
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
	in     *bufio.Reader
	line   string
	number int   // of the line, from 1
	failed error // of reading, which says nothing about the file's form
}

func newParser(r io.Reader, before int) *parser {
	return &parser{in: bufio.NewReaderSize(r, bufferSize), number: before}
}

// next moves to the next line and says whether there is one.
func (p *parser) next() (bool, error) {
	p.number++
	text, err := p.in.ReadSlice('\n')
	p.line = strings.TrimSuffix(string(text), "\n")
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, io.EOF) && len(text) == 0:
		return false, nil
	case errors.Is(err, io.EOF):
		return false, errors.New("the last line is cut off")
	case errors.Is(err, bufio.ErrBufferFull):
		return false, errors.New("the line is longer than any of a lock")
	}
	p.failed = err
	return false, err
}

// head reads what stands before the photos, and returns where they begin. The line read
// last is the first of them.
func (p *parser) head() (l *Lock, photos int64, err error) {
	if ok, err := p.next(); err != nil || !ok || p.line != header {
		return nil, 0, fmt.Errorf("want %q on the first line, got %s", header, quote(p.line))
	}
	l = new(Lock)
	rank := 0
	for at := int64(len(header) + 1); ; at += int64(len(p.line) + 1) {
		ok, err := p.next()
		if err != nil || !ok {
			return l, at, err
		}
		word, rest, _ := strings.Cut(p.line, " ")
		if word == "photo" || word == "dead" {
			return l, at, nil
		}
		r := slices.Index(headWords, word)
		if r < 0 {
			return nil, 0, fmt.Errorf("want %s, photo or dead, got %s", strings.Join(headWords, ", "), quote(p.line))
		}
		if r < rank {
			return nil, 0, fmt.Errorf("%s comes before %s", word, headWords[rank])
		}
		rank = r
		if err := l.add(word, rest); err != nil {
			return nil, 0, err
		}
	}
}

// headWords begin the lines before the photos, in their order.
var headWords = []string{"code", "image", "file", "python", "wheel", "platform", "conda", "source"}

// add reads a line of the head.
func (l *Lock) add(word, text string) (err error) {
	switch word {
	case "code":
		if l.Code != nil {
			return errors.New("the code is one line")
		}
		l.Code = new(Code)
		*l.Code, err = parseCode(text)
	case "image":
		if l.Image != nil {
			return errors.New("the image is one line")
		}
		l.Image = new(Image)
		*l.Image, err = parseImage(text)
	case "file":
		l.Inputs, err = appendPin(l.Inputs, text, parseInput)
	case "python":
		if l.Python != nil {
			return errors.New("the python is one line")
		}
		l.Python = new(Python)
		*l.Python, err = parsePython(text)
	case "wheel":
		l.Wheels, err = appendPin(l.Wheels, text, parseArchive)
	case "platform":
		if l.Platform != "" {
			return errors.New("the platform is one line")
		}
		l.Platform, err = text, checkPlatform(text)
	case "conda":
		l.Conda, err = appendPin(l.Conda, text, parseArchive)
	case "source":
		l.Sources, err = appendPin(l.Sources, text, parseSource)
	}
	return err
}

// appendPin reads a pin that stands behind others of its sort.
func appendPin[T keyed](pins []T, text string, parse func(string) (T, error)) ([]T, error) {
	last := ""
	if n := len(pins); n > 0 {
		last = pins[n-1].key()
	}
	p, err := parsePin(text, last, parse)
	return append(pins, p), err
}

// photos reads the lines behind the head.
func (p *parser) photos(yield func(Photo, error) bool) error {
	last := ""
	for {
		ok, err := p.next()
		if err != nil || !ok {
			return err
		}
		word, rest, _ := strings.Cut(p.line, " ")
		var photo Photo
		switch word {
		case "photo":
			photo, err = parsePin(rest, last, parsePhoto)
		case "dead":
			photo, err = parsePin(rest, last, parseDead)
		default:
			err = fmt.Errorf("want photo or dead, got %s", quote(p.line))
			if slices.Contains(headWords, word) {
				err = fmt.Errorf("%s comes before photos", word)
			}
		}
		if err != nil {
			return err
		}
		if !yield(photo, nil) {
			return nil
		}
		last = photo.ID
	}
}

// parsePin reads a pin that stands behind the one with the key last.
func parsePin[T keyed](text, last string, parse func(string) (T, error)) (T, error) {
	p, err := parse(text)
	if err == nil {
		err = p.check()
	}
	if err == nil {
		err = follows(last, p.key())
	}
	return p, err
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

func parseImage(text string) (Image, error) {
	var words [3]string
	if err := split(text, words[:], "digest size name"); err != nil {
		return Image{}, err
	}
	size, err := parseSize(words[1])
	if err != nil {
		return Image{}, err
	}
	i := Image{Digest: digest.Digest(words[0]), Size: size, Name: words[2]}
	return i, i.check()
}

func parseInput(text string) (Input, error) {
	var words [3]string
	if err := split(text, words[:], "digest size path"); err != nil {
		return Input{}, err
	}
	size, err := parseSize(words[1])
	return Input{Digest: digest.Digest(words[0]), Size: size, Path: words[2]}, err
}

func parsePython(text string) (Python, error) {
	var words [2]string
	if err := split(text, words[:], "abi folder"); err != nil {
		return Python{}, err
	}
	p := Python{ABI: words[0], Site: words[1]}
	return p, p.check()
}

func parseArchive(text string) (Archive, error) {
	var words [3]string
	if err := split(text, words[:], "digest size URL"); err != nil {
		return Archive{}, err
	}
	size, err := parseSize(words[1])
	return Archive{Digest: digest.Digest(words[0]), Size: size, URL: words[2]}, err
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
