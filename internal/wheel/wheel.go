// Package wheel reads wheels, the archives that pip installs, and says where each of their files
// belongs. Wheels are made by strangers: nothing in one may reach out of the folder that it is
// laid into, nor take the place of the interpreter.
//
// No code of a wheel is run, and nothing is compiled, so that the same wheels come to the same files
// on every machine. What pip would write besides, such as the scripts of entry points, is made here.
package wheel

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// The folders of what the stage of the wheels of an environment leaves.
const (
	Archives = "wheels" // the wheels as they are
	Prefix   = "prefix" // what they come to: a virtual environment without its interpreter
)

// Bounds keep a hostile archive from filling the disk. The largest wheels of today have a tenth of it.
type Bounds struct {
	Bytes   int64 // of all files, as they are unpacked
	Entries int
}

// Usual are the bounds of wheels that people use.
var Usual = Bounds{Bytes: 64 << 30, Entries: 1 << 20}

// Error says why something is no wheel, or none that may be unpacked.
type Error struct{ Entry, Problem string } // Entry is empty where the wheel as a whole is meant

func (e *Error) Error() string {
	if e.Entry == "" {
		return e.Problem
	}
	return fmt.Sprintf("%q: %s", e.Entry, e.Problem)
}

// Name is what the name of a wheel's file says.
type Name struct {
	Distribution string // as in the index: "ruamel.yaml" may be "ruamel_yaml" here
	Version      string
}

// fileName is distribution, version, an optional build, and three tags.
var fileName = lazyregexp.New(`^([A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-([A-Za-z0-9._!+]+)(-[0-9][A-Za-z0-9._]*)?(-[A-Za-z0-9._]+){3}\.whl$`)

// ParseName reads the name of a wheel's file.
func ParseName(file string) (Name, error) {
	m := fileName.FindStringSubmatch(file)
	if m == nil || len(file) > maxName {
		return Name{}, &Error{file, "want the name of a wheel, as in numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl"}
	}
	return Name{Distribution: m[1], Version: m[2]}, nil
}

// Bounds of names and of what is held in memory.
const (
	maxName     = 255       // bytes of a file's name, as the system has it
	maxPath     = 4096      // bytes of a path
	maxMetadata = 4 << 20   // bytes of a file that is parsed
	maxScript   = 64 << 10  // bytes of the first line of a script
	maxEntries  = 100 << 10 // scripts of entry points
)

// Place is a sort of folder that a wheel has files for.
type Place int

// The places, in the words of Python's installation schemes.
const (
	Site    Place = iota // where modules are imported from: purelib, and platlib
	Scripts              // programs
	Headers              // of C, for who builds on it
	Data                 // the root of the whole
)

// places are the folders in <distribution>.data.
var places = map[string]Place{"purelib": Site, "platlib": Site, "scripts": Scripts, "headers": Headers, "data": Data}

// File is a file of a wheel, or one that a wheel asks for.
type File struct {
	Place Place
	Path  string // within the place, slash-separated
	entry *zip.File
	text  []byte // of one that is made here
}

// Wheel is an open wheel.
type Wheel struct {
	Name
	Files  []File // sorted by place and path; without the record of what was installed
	Record string // the path in Site of that
}

// Open reads what there is in a wheel. The name is that of its file.
func Open(file string, in io.ReaderAt, size int64, b Bounds) (*Wheel, error) {
	name, err := ParseName(file)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(in, size)
	if err != nil {
		return nil, &Error{"", "not a wheel: " + err.Error()}
	}
	w := &Wheel{Name: name}
	entries, err := check(archive.File, b)
	if err != nil {
		return nil, err
	}
	info, err := metadataFolder(entries)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(entries, info); err != nil {
		return nil, err
	}
	w.Record = info + "/RECORD"
	for _, e := range entries {
		f, err := placed(e, strings.TrimSuffix(info, infoSuffix)+".data")
		if err != nil {
			return nil, err
		}
		if f.Place == Site && (f.Path == w.Record || strings.HasPrefix(f.Path, w.Record+".")) { // and signatures of it
			continue
		}
		w.Files = append(w.Files, f)
	}
	scripts, err := entryPoints(entries, info)
	if err != nil {
		return nil, err
	}
	w.Files = append(w.Files, scripts...)
	return w, w.settle()
}

// check refuses what no wheel should have, and returns the files.
func check(all []*zip.File, b Bounds) ([]*zip.File, error) {
	if len(all) > b.Entries {
		return nil, &Error{"", "the wheel has more files than it may"}
	}
	var files []*zip.File
	left := uint64(b.Bytes)
	for _, e := range all {
		name := strings.TrimSuffix(e.Name, "/")
		mode := e.Mode()
		switch {
		case !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") || len(name) > maxPath:
			return nil, &Error{e.Name, "no path within a wheel"}
		case slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool { return len(s) > maxName }):
			return nil, &Error{e.Name, "the name is longer than files have"}
		case strings.HasSuffix(e.Name, "/"):
			continue
		case !mode.IsRegular():
			return nil, &Error{e.Name, "neither a file nor a folder"}
		case e.UncompressedSize64 > left:
			return nil, &Error{e.Name, "the wheel has more bytes than it may"}
		}
		left -= e.UncompressedSize64
		files = append(files, e)
	}
	return files, nil
}

const infoSuffix = ".dist-info"

// metadataFolder finds the one folder that says what the wheel is.
func metadataFolder(files []*zip.File) (string, error) {
	found := ""
	for _, f := range files {
		folder, _, nested := strings.Cut(f.Name, "/")
		if !nested || !strings.HasSuffix(folder, infoSuffix) || folder == found {
			continue
		}
		if found != "" {
			return "", &Error{"", fmt.Sprintf("not a wheel: it has both %s and %s", found, folder)}
		}
		found = folder
	}
	if found == "" {
		return "", &Error{"", "not a wheel: it has no folder …" + infoSuffix}
	}
	return found, nil
}

// checkVersion looks at the version of the format, of which there is one.
func checkVersion(files []*zip.File, info string) error {
	const name = "WHEEL"
	text, err := metadata(files, info+"/"+name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "Wheel-Version" {
			continue
		}
		if major, _, _ := strings.Cut(strings.TrimSpace(value), "."); major != "1" {
			return &Error{info + "/" + name, "want a wheel of version 1, got " + strings.TrimSpace(value)}
		}
		return nil
	}
	return &Error{info + "/" + name, "not a wheel: it does not say its version"}
}

// metadata reads a file of the metadata; nil when there is none.
func metadata(files []*zip.File, name string) ([]byte, error) {
	i := slices.IndexFunc(files, func(f *zip.File) bool { return f.Name == name })
	if i < 0 {
		return nil, nil
	}
	if files[i].UncompressedSize64 > maxMetadata {
		return nil, &Error{name, "longer than any of a wheel"}
	}
	in, err := File{entry: files[i]}.Open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(in)
	return text, errors.Join(err, in.Close())
}

// placed says where an entry belongs.
func placed(e *zip.File, data string) (File, error) {
	rest, isData := strings.CutPrefix(e.Name, data+"/")
	if !isData {
		return File{Place: Site, Path: e.Name, entry: e}, nil
	}
	key, rest, _ := strings.Cut(rest, "/")
	place, ok := places[key]
	if !ok || rest == "" {
		return File{}, &Error{e.Name, "wheels have no such folder of data"}
	}
	return File{Place: place, Path: rest, entry: e}, nil
}

// interpreter are the programs of the environment itself.
var interpreter = lazyregexp.New(`^(?i:python|pypy)[0-9.]*t?(-config)?(\.exe)?$`)

// settle puts the files in order, and refuses what would be in the way of another.
func (w *Wheel) settle() error {
	slices.SortStableFunc(w.Files, func(a, b File) int {
		if a.Place != b.Place {
			return int(a.Place - b.Place)
		}
		return strings.Compare(a.Path, b.Path)
	})
	// Of a script that is both a file and an entry point, pip takes the entry point, which stands last.
	var kept []File
	for i, f := range w.Files {
		if i+1 < len(w.Files) && w.Files[i+1].Place == f.Place && w.Files[i+1].Path == f.Path {
			if w.Files[i+1].text == nil {
				return &Error{f.Path, "the wheel has it twice"}
			}
			continue
		}
		root := f.Place == Data && (f.Path == "pyvenv.cfg" || path.Dir(f.Path) == "bin" && interpreter.MatchString(path.Base(f.Path)))
		if root || f.Place == Scripts && interpreter.MatchString(f.Path) {
			return &Error{f.Path, "it would take the place of the interpreter"}
		}
		kept = append(kept, f)
	}
	w.Files = kept
	return nil
}

// Open opens the content of a file. It ends with an error when it is not what the archive says.
func (f File) Open() (io.ReadCloser, error) {
	if f.entry == nil {
		return io.NopCloser(bytes.NewReader(f.text)), nil
	}
	in, err := f.entry.Open()
	if err != nil {
		return nil, &Error{f.entry.Name, err.Error()}
	}
	whole := &exact{in: in, entry: f.entry.Name, left: int64(f.entry.UncompressedSize64)}
	if f.Place != Scripts {
		return whole, nil
	}
	return interpreted(whole)
}

// exact yields just as many bytes as an archive says.
type exact struct {
	in    io.ReadCloser
	entry string
	left  int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.in.Read(p)
	if e.left -= int64(n); e.left < 0 {
		return 0, &Error{e.entry, "it has more bytes than the archive says"}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &Error{e.entry, err.Error()}
	}
	return n, err
}

func (e *exact) Close() error { return e.in.Close() }
