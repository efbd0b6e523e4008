package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// MaxSize bounds a manifest in bytes. What a person writes is a few kilobytes; what
// is larger is another file given by mistake, and is refused before it is parsed.
const MaxSize = 256 << 10

// ReadFile reads and decodes the manifest at path. It also returns the file's bytes,
// which the package records as they are. Faults name the file by path.
func ReadFile(path string) (*Manifest, []byte, error) {
	src, err := ReadText(path)
	if err != nil {
		return nil, nil, err
	}
	m, err := Decode(path, src)
	if err != nil {
		return nil, nil, err
	}
	return m, src, nil
}

// ReadText reads the file at path without decoding it. Of a file that is too large for a
// manifest it returns so much that Decode says so.
func ReadText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return src, nil
}

// Decode reads a manifest, checks it and fills in every default. The error is a
// *Faults with everything that is wrong, found in one pass; filename is what it
// calls the file.
func Decode(filename string, src []byte) (*Manifest, error) {
	doc, err := decodeDocument(filename, src, nil)
	if err != nil {
		return nil, err
	}
	return doc.manifest, nil
}

// decoder collects the faults of one file.
type decoder struct {
	file   string
	faults []Fault
	places map[string]*yaml.Node // where each position that the file sets stands
}

func (d *decoder) manifest(root *yaml.Node) *Manifest {
	if n := child(root, "version"); n != nil && kindOf(n) == isNumber {
		version := 0
		if (integer[int]{&version, 1, 1}).decode(d, n, "version"); version == 0 {
			return nil // of a manifest in another version's language, nothing else can be judged
		}
	}
	m := defaults()
	d.place("", root)
	grammar(m).decode(d, root, "")
	if kindOf(root) == isMapping {
		if m.Model.RepeatArticle {
			d.repeatArticle(m)
		}
		if m.Environment.InImage() && d.places["environment.native"] == nil {
			m.Environment.Native = false
		}
		d.check(m)
	}
	return m
}

// parse makes the one document of the file, or reports why there is none.
func (d *decoder) parse(src []byte) *yaml.Node {
	if len(src) > MaxSize {
		d.fileFault(1, 1, fmt.Sprintf("the file is larger than a manifest may be, %d KiB", MaxSize>>10), "is it another file?")
		return nil
	}
	if !utf8.Valid(src) {
		line, column := firstInvalid(src)
		d.fileFault(line, column, "the file is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	var document, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(src))
	switch err := documents.Decode(&document); {
	case errors.Is(err, io.EOF):
		d.fileFault(1, 1, "the file is empty", "`sandwich init` writes a manifest to start from")
		return nil
	case err != nil:
		d.syntaxFault(src, err)
		return nil
	}
	switch err := documents.Decode(&second); {
	case errors.Is(err, io.EOF):
		return document.Content[0]
	case err != nil:
		d.syntaxFault(src, err)
	default:
		d.fileFault(second.Line, second.Column, "a second document starts here", "a manifest is one document: remove the `---`")
	}
	return nil
}

// firstInvalid is the line and column of the first byte that is not UTF-8.
func firstInvalid(src []byte) (line, column int) {
	line, column = 1, 1
	for len(src) > 0 {
		r, size := utf8.DecodeRune(src)
		if r == utf8.RuneError && size == 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		src = src[size:]
	}
	return line, column
}

// syntaxError is the only form in which the parser tells where it stopped.
var syntaxError = lazyregexp.New(`^yaml: (?:line ([0-9]+): )?(.*)`)

func (d *decoder) syntaxFault(src []byte, err error) {
	line, message := 1, err.Error()
	if parts := syntaxError.FindStringSubmatch(message); parts != nil {
		message = parts[2]
		if n, err := strconv.Atoi(parts[1]); err == nil {
			line = n
		}
	}
	hint := ""
	if lines := bytes.Split(src, []byte("\n")); line <= len(lines) && bytes.Contains(lines[line-1], []byte("\t")) {
		hint = "the line has a tab: YAML is indented with spaces"
	}
	d.fileFault(line, 1, "not YAML: "+message, hint)
}

func (d *decoder) fileFault(line, column int, message, hint string) {
	d.faults = append(d.faults, Fault{File: d.file, Line: line, Column: column, Message: message, Hint: hint})
}

// fault reports what is wrong at n, which stands at path.
func (d *decoder) fault(n *yaml.Node, path, message, hint string) {
	d.faults = append(d.faults, Fault{File: d.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Path: path, Message: message, Hint: hint})
}

// mismatch reports that something else stands at n than what is wanted there.
func (d *decoder) mismatch(n *yaml.Node, path, want, hint string) {
	if kindOf(n) == isForeign {
		hint = "aliases and tags are not part of the language: write the value itself"
	}
	d.fault(n, path, fmt.Sprintf("want %s, got %s", want, describe(n)), hint)
}

// faultAt reports what is wrong about path at the place of where, or of the nearest
// position around it that the file has.
func (d *decoder) faultAt(where, path, message, hint string) {
	for d.places[where] == nil {
		where = parent(where)
	}
	d.fault(d.places[where], path, message, hint)
}

// place records where a position stands.
func (d *decoder) place(path string, n *yaml.Node) { d.places[path] = n }

// isMappingOf reports a value that is no mapping, or one of more entries than there may be, and
// tells whether it is neither. The keys of the mapping are the writer's own.
func (d *decoder) isMappingOf(n *yaml.Node, path, want, hint string, most int, entries string) bool {
	if kindOf(n) != isMapping {
		d.mismatch(n, path, want, hint)
		return false
	}
	if count := len(n.Content) / 2; count > most {
		d.fault(n, path, fmt.Sprintf("want at most %d %s, got %d", most, entries, count), "")
		return false
	}
	return true
}

// pairs visits the pairs of a mapping, reports repeated keys and keys that no
// mapping has, and returns the keys it saw.
func (d *decoder) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node, at string)) map[string]bool {
	seen, lines := make(map[string]bool), make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || kindOf(key) == isForeign {
			d.mismatch(key, path, "a key", "")
			continue
		}
		at := join(path, key.Value)
		switch {
		case key.Value == "<<" && key.Style == 0:
			d.fault(key, path, "merge keys are not part of the language", "write the keys themselves")
		case seen[key.Value]:
			d.fault(key, at, fmt.Sprintf("set a second time; first on line %d", lines[key.Value]), "")
		default:
			seen[key.Value], lines[key.Value] = true, key.Line
			if value.Kind == yaml.ScalarNode {
				d.place(at, value)
			} else {
				d.place(at, key)
			}
			visit(key, value, at)
		}
	}
	return seen
}

// simpleKey is a key that needs no quotes in a path.
var simpleKey = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

func join(path, key string) string {
	switch {
	case !simpleKey.MatchString(key):
		return fmt.Sprintf("%s[%q]", path, shorten(key))
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// sound says that nothing at, below or around the paths was reported, so that a
// check which compares them has values that the file really says.
func (d *decoder) sound(paths ...string) bool {
	for _, f := range d.faults {
		for _, path := range paths {
			if within(f.Path, path) || within(path, f.Path) {
				return false
			}
		}
	}
	return true
}

// within says whether the position inner is outer or below it.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Says tells whether the text of a manifest, which decodes, has a key at its top, and does
// not leave it to its default.
func Says(src []byte, key string) bool {
	var top map[string]yaml.Node
	if err := yaml.Unmarshal(src, &top); err != nil {
		return false
	}
	_, ok := top[key]
	return ok
}
