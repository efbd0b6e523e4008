package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// asked are the files of the metadata that count, below info/.
var asked = []string{indexFile, pathsFile, linkFile, filesFile, prefixFile}

const (
	indexFile  = "index.json"
	pathsFile  = "paths.json" // of packages since 2017
	linkFile   = "link.json"  // of packages of Python's without an architecture
	filesFile  = "files"      // of packages before paths.json, as is the next
	prefixFile = "has_prefix"
)

// File is a file of a package.
type File[T any] struct {
	Path       string // in the environment's folder, but for Noarch packages of Python: see Package.Place
	Content    T      // of a file, as Keep names it
	Executable bool
	Link       string // what a link points at, relative; empty for a file
}

// Placeholder is what stands in a file for the environment's folder.
type Placeholder struct {
	Text   string // empty for a file that does not know the folder
	Binary bool   // what comes in its place must not be longer
}

// EntryPoint is a program that calls a function of Python.
type EntryPoint struct{ Name, Module, Function string }

// Package is what a package has.
type Package[T any] struct {
	Name
	Record      []byte // index.json, as the package has it
	Noarch      string // "python", "generic", or empty for a package of an architecture
	Site        string // of a package python: where modules are, "lib/python3.12/site-packages"
	Files       []File[T]
	EntryPoints []EntryPoint
}

// index is what of index.json counts here.
type index struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	Build   string          `json:"build"`
	Noarch  json.RawMessage `json:"noarch"` // "python", "generic" or, of old, true
	Site    string          `json:"python_site_packages_path"`
}

// Read reads a package of size bytes. file is the name of its file. The errors of keep are returned as they are;
// others, which the package is to blame for, are *Error.
func Read[T any](file string, in io.ReaderAt, size int64, b Bounds, keep Keep[T]) (*Package[T], error) {
	name, err := ParseName(file)
	if err != nil {
		return nil, err
	}
	c := newContents(keep)
	if err := c.read(file, in, size, b); err != nil {
		return nil, err
	}
	return newPackage(name, c)
}

// newPackage makes sense of what a package has.
func newPackage[T any](name Name, c *contents[T]) (*Package[T], error) {
	p := &Package[T]{Name: name, Record: c.metadata[indexFile]}
	if err := p.readIndex(); err != nil {
		return nil, err
	}
	if err := p.readEntryPoints(c.metadata[linkFile]); err != nil {
		return nil, err
	}
	return p, p.readFiles(c)
}

// pythonVersion begins with two numbers.
var pythonVersion = lazyregexp.New(`^(\d+\.\d+)(\.|$)`)

func (p *Package[T]) readIndex() error {
	const at = infoFolder + indexFile
	if p.Record == nil {
		return &Error{"", "not a package: it has no " + at}
	}
	var x index
	if err := json.Unmarshal(p.Record, &x); err != nil {
		return &Error{at, err.Error()}
	}
	if got := (Name{x.Name, x.Version, x.Build}); got != p.Name {
		return &Error{at, fmt.Sprintf("it is %s-%s-%s, and its file is not called so", got.Name, got.Version, got.Build)}
	}
	switch string(x.Noarch) {
	case `"python"`:
		p.Noarch = "python"
	case `"generic"`, "true":
		p.Noarch = "generic"
	}
	if x.Name != "python" {
		return nil
	}
	m := pythonVersion.FindStringSubmatch(x.Version)
	switch {
	case x.Site != "":
		p.Site = x.Site
	case m != nil:
		p.Site = "lib/python" + m[1] + "/site-packages"
	default:
		return &Error{at, "a Python of no version: " + strconv.Quote(x.Version)}
	}
	return checkPath(p.Site)
}

var (
	pointName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
	// point is name = module:function, both of which may have dots.
	point = lazyregexp.New(`^\s*(\S+)\s*=\s*([A-Za-z_][A-Za-z0-9_.]*)\s*:\s*([A-Za-z_][A-Za-z0-9_.]*)\s*$`)
)

func (p *Package[T]) readEntryPoints(text []byte) error {
	if text == nil || p.Noarch != "python" {
		return nil
	}
	const at = infoFolder + linkFile
	var l struct {
		Noarch struct {
			EntryPoints []string `json:"entry_points"`
		} `json:"noarch"`
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return &Error{at, err.Error()}
	}
	for _, line := range l.Noarch.EntryPoints {
		m := point.FindStringSubmatch(line)
		if m == nil || !pointName.MatchString(m[1]) {
			return &Error{at, fmt.Sprintf("want a program as in tool = module:function, got %q", line)}
		}
		p.EntryPoints = append(p.EntryPoints, EntryPoint{m[1], m[2], m[3]})
	}
	return nil
}

// listed is what the metadata say of a file.
type listed struct {
	Path        string `json:"_path"`
	Type        string `json:"path_type"`
	Placeholder string `json:"prefix_placeholder"`
	Mode        string `json:"file_mode"` // "text" or "binary"
}

// list is what the metadata say of all files. What is not listed is not laid out, as conda does not.
type list struct {
	paths []string // in their order
	files map[string]Placeholder
	all   bool // there is no list but of placeholders: every file counts
}

// find says whether a file counts, and what stands in it for the folder.
func (l *list) find(name string) (Placeholder, bool) {
	p, ok := l.files[name]
	return p, ok || l.all
}

// readFiles joins what the archives have with what the metadata say of it.
func (p *Package[T]) readFiles(c *contents[T]) error {
	paths := c.list.paths
	if c.list.all {
		paths = slices.Collect(maps.Keys(c.files))
	}
	for _, name := range paths {
		e, ok := c.files[name]
		if !ok {
			return &Error{name, "the package lists it, and does not have it"}
		}
		p.Files = append(p.Files, File[T]{Path: name, Content: e.content, Executable: e.executable, Link: e.link})
	}
	slices.SortFunc(p.Files, func(a, b File[T]) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// readList reads the list of files, in either form.
func (c *contents[T]) readList() error {
	c.list = &list{files: make(map[string]Placeholder)}
	if text, ok := c.metadata[pathsFile]; ok {
		return c.list.read(text)
	}
	placeholders, err := c.placeholders()
	if err != nil {
		return err
	}
	text, ok := c.metadata[filesFile]
	if !ok { // it need have none
		c.list.all, c.list.files = true, placeholders
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimRight(line, "\r\n"); name != "" {
			if err := c.list.add(name, placeholders[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads paths.json.
func (l *list) read(text []byte) error {
	const at = infoFolder + pathsFile
	var all struct {
		Version int      `json:"paths_version"`
		Paths   []listed `json:"paths"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return &Error{at, err.Error()}
	}
	if all.Version != 1 {
		return &Error{at, fmt.Sprintf("want version 1, got %d", all.Version)}
	}
	for _, f := range all.Paths {
		if f.Placeholder != "" && f.Mode != "text" && f.Mode != "binary" {
			return &Error{f.Path, fmt.Sprintf("want text or binary, got %q", f.Mode)}
		}
		if f.Type == "directory" {
			continue
		}
		if err := l.add(f.Path, Placeholder{f.Placeholder, f.Mode == "binary"}); err != nil {
			return err
		}
	}
	return nil
}

func (l *list) add(name string, p Placeholder) error {
	if _, twice := l.files[name]; twice {
		return &Error{name, "the package lists it twice"}
	}
	l.paths = append(l.paths, name)
	l.files[name] = p
	return nil
}

// oldPlaceholder is what stands in files of which the old form of metadata names none.
const oldPlaceholder = "/opt/anaconda1anaconda2anaconda3"

// placeholders reads the old form: lines of a path alone, or of a placeholder, a mode and a path, each of which
// may be in quotes.
func (c *contents[T]) placeholders() (map[string]Placeholder, error) {
	all := make(map[string]Placeholder)
	for line := range strings.Lines(string(c.metadata[prefixFile])) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		words := words(line)
		switch {
		case len(words) == 3 && (words[1] == "text" || words[1] == "binary"):
			all[words[2]] = Placeholder{words[0], words[1] == "binary"}
		case len(words) == 1:
			all[words[0]] = Placeholder{Text: oldPlaceholder}
		default:
			return nil, &Error{infoFolder + prefixFile, fmt.Sprintf("want a placeholder, text or binary, and a path, got %q", line)}
		}
	}
	return all, nil
}

// words cuts a line at spaces that are not in quotes.
func words(line string) []string {
	var all []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		word, rest := "", ""
		if quote := line[0]; quote == '"' || quote == '\'' {
			word, rest, _ = strings.Cut(line[1:], string(quote))
		} else {
			word, rest, _ = strings.Cut(line, " ")
		}
		all, line = append(all, word), rest
	}
	return all
}

// The folders that a package of Python without an architecture has for files whose place the Python decides.
const (
	noarchModules = "site-packages/"
	noarchScripts = "python-scripts/"
)

// Place is where a file belongs in the folder of an environment whose Python has its modules in site.
func (p *Package[T]) Place(f File[T], site string) string {
	if p.Noarch != "python" {
		return f.Path
	}
	if rest, ok := strings.CutPrefix(f.Path, noarchModules); ok {
		return path.Join(site, rest)
	}
	if rest, ok := strings.CutPrefix(f.Path, noarchScripts); ok {
		return path.Join("bin", rest)
	}
	return f.Path
}

// Script is the program of an entry point, in an environment that lies in the folder prefix.
func (e EntryPoint) Script(prefix string) []byte {
	first, _, _ := strings.Cut(e.Function, ".")
	return fmt.Appendf(nil, "#!%s/bin/python\nimport sys\n\nfrom %s import %s\n\nif __name__ == \"__main__\":\n    sys.exit(%s())\n", prefix, e.Module, first, e.Function)
}

// Replace puts the folder of an environment in the place of the placeholder. In a binary file, what follows up to
// the end of the text that it is in moves up, and zero bytes follow, so that nothing else moves.
func (p Placeholder) Replace(content []byte, prefix string) ([]byte, error) {
	if p.Text == "" {
		return content, nil
	}
	// A text would have room, but a placeholder of a byte could make it many times as long.
	if len(prefix) > len(p.Text) {
		return nil, &Error{"", fmt.Sprintf("it has no room for %s", prefix)}
	}
	if !p.Binary {
		return bytes.ReplaceAll(content, []byte(p.Text), []byte(prefix)), nil
	}
	out := bytes.Clone(content)
	for at := 0; ; {
		i := bytes.Index(out[at:], []byte(p.Text))
		if i < 0 {
			return out, nil
		}
		at += i
		end := bytes.IndexByte(out[at:], 0)
		if end < 0 {
			end = len(out) - at
		}
		text := out[at : at+end]
		n := copy(text, bytes.ReplaceAll(bytes.Clone(text), []byte(p.Text), []byte(prefix)))
		clear(text[n:])
		at += end
	}
}
