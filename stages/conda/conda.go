// Package conda is the kind of stage that unpacks the packages of conda's that stages of the user's own run with.
//
// Its output is
//
//	packages/<file>.conda   the packages, which a package carries
//	prefix/                 the files that they come to: the folder of an environment, at the place that it was made for
//	prefix.json             what a tree does not know of them: links, and which are programs
//
// Packages and the folder decide it, and no program runs for it: not conda, and no script of a package. Where the bytes
// are fetched from does not, and what the store has is not fetched.
package conda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/conda/archive"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/archives"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

// What the output has.
const (
	prefix = "prefix"
	layout = "prefix.json"
)

// Kind is the stage. It has no inputs.
type Kind struct {
	folder   string // of the environment, as programs see it
	packages archives.Set
	bounds   archive.Bounds
}

// New returns the stage that unpacks packages into an environment that programs see at folder, an absolute path.
func New(folder string, packages archives.Set) Kind {
	return Kind{folder: folder, packages: packages, bounds: archive.Usual}
}

// Name returns "conda".
func (Kind) Name() string { return "conda" }

// Version returns the behaviour version.
func (Kind) Version() int { return 1 }

// Params returns the folder, and the packages by file and digest.
func (k Kind) Params() any {
	return map[string]any{"folder": k.folder, "packages": k.packages.Params()}
}

// Reads returns what the parameters name, which may be in the store.
func (k Kind) Reads() []cas.Digest { return k.packages.Reads() }

// Run fetches what the store lacks, and unpacks.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	if err := k.packages.Fetch(ctx, t, archive.Archives); err != nil {
		return err
	}
	all := make([]*archive.Package[cas.Digest], len(k.packages.All))
	for i, p := range k.packages.All {
		t.Progress(int64(i), int64(len(k.packages.All)), "packages")
		var err error
		if all[i], err = k.read(ctx, t, p); err != nil {
			return fmt.Errorf("unpack %s: %w", p.File, err)
		}
	}
	e := &environment{kind: k, task: t, files: make(map[string]owned)}
	if i := slices.IndexFunc(all, func(p *archive.Package[cas.Digest]) bool { return p.Site != "" }); i >= 0 {
		e.site = all[i].Site
	}
	for i, p := range all {
		if err := e.add(ctx, k.packages.All[i].File, p); err != nil {
			return fmt.Errorf("unpack %s: %w", k.packages.All[i].File, err)
		}
	}
	return e.write(ctx)
}

// maxReplaced bounds a file in which a placeholder is replaced. The largest libraries have half of it.
const maxReplaced = 1 << 30

// read reads a package, whose files are in the store then.
func (k Kind) read(ctx context.Context, t *stages.Task, p archives.Archive) (_ *archive.Package[cas.Digest], err error) {
	file, err := k.packages.Open(ctx, t.Store(), p.Digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return archive.Read(p.File, file, p.Digest.Size(), k.bounds, func(in io.Reader, of archive.Placeholder) (cas.Digest, error) {
		if of.Text == "" {
			return t.Store().Put(ctx, in)
		}
		content, err := io.ReadAll(io.LimitReader(in, maxReplaced+1))
		if err != nil {
			return cas.Digest{}, err
		}
		if len(content) > maxReplaced {
			return cas.Digest{}, fmt.Errorf("a file that names its folder has more than %d bytes, which are held in memory", maxReplaced)
		}
		if content, err = of.Replace(content, k.folder); err != nil {
			return cas.Digest{}, err
		}
		return cas.PutBytes(ctx, t.Store(), content)
	})
}

// environment is what the packages come to.
type environment struct {
	kind  Kind
	task  *stages.Task
	site  string           // where modules of Python's are; empty without a Python
	files map[string]owned // by path
}

// owned is a file or a link, and the package that has it.
type owned struct {
	digest     cas.Digest
	executable bool
	link       string
	from       string
}

// NoPythonError says that there is a package of Python's, and no Python.
type NoPythonError struct{ File string }

func (e *NoPythonError) Error() string {
	return "it is a package of Python's, and the environment has no package python"
}

// add lays out a package. Where another one has a file of that path, this one's is taken.
func (e *environment) add(ctx context.Context, file string, p *archive.Package[cas.Digest]) error {
	if p.Noarch == "python" && e.site == "" {
		return &NoPythonError{file}
	}
	other := make(map[string]int) // files that other packages have too, by package
	put := func(name string, o owned) {
		o.from = file
		if was, ok := e.files[name]; ok && (was.digest != o.digest || was.link != o.link) {
			other[was.from]++
		}
		e.files[name] = o
	}
	var names []string
	for _, f := range p.Files {
		name := p.Place(f, e.site)
		o := owned{digest: f.Content, executable: f.Executable, link: f.Link}
		names = append(names, name)
		put(name, o)
		e.remark(file, name)
	}
	for _, point := range p.EntryPoints {
		d, err := cas.PutBytes(ctx, e.task.Store(), point.Script(e.kind.folder))
		if err != nil {
			return err
		}
		name := path.Join("bin", point.Name)
		names = append(names, name)
		put(name, owned{digest: d, executable: true})
	}
	text, err := record(p.Record, file, names)
	if err != nil {
		return err
	}
	d, err := cas.PutBytes(ctx, e.task.Store(), text)
	if err != nil {
		return err
	}
	put(path.Join("conda-meta", p.Name.Name+"-"+p.Version+"-"+p.Build+".json"), owned{digest: d})
	for _, from := range slices.Sorted(maps.Keys(other)) {
		e.task.Warnf("%d files of %s are other ones in %s, which are taken", other[from], from, file)
	}
	return nil
}

// remark tells of a file that conda would run.
func (e *environment) remark(file, name string) {
	dir, base := path.Split(name)
	switch {
	case dir == "bin/" && strings.HasPrefix(base, ".") && strings.HasSuffix(base, "-post-link.sh"):
		e.task.Warnf("%s is not run, which conda does when it installs %s", name, file)
	case dir == "etc/conda/activate.d/":
		e.task.Warnf("%s is not run, which conda does when the environment of %s is activated", name, file)
	}
}

// record is what conda keeps of a package that is installed: what the package says, and what it has laid out.
func record(index []byte, file string, names []string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(index, &fields); err != nil {
		return nil, err
	}
	slices.Sort(names)
	for key, value := range map[string]any{"fn": file, "files": slices.Compact(append([]string{}, names...))} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		fields[key] = text
	}
	text, err := json.MarshalIndent(fields, "", "  ")
	return append(text, '\n'), err
}

// description is prefix.json.
type description struct {
	Links    map[string]string `json:"links"`
	Programs []string          `json:"programs"`
}

// write writes the output.
func (e *environment) write(ctx context.Context) error {
	d := description{Links: map[string]string{}, Programs: []string{}}
	for _, name := range slices.Sorted(maps.Keys(e.files)) {
		f := e.files[name]
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if in, ok := e.files[dir]; ok {
				return fmt.Errorf("unpack %s: %w", f.from, &archive.Error{Entry: name, Problem: fmt.Sprintf("%s is no folder in %s", dir, in.from)})
			}
		}
		switch {
		case f.link != "":
			d.Links[name] = f.link
			continue
		case f.executable:
			d.Programs = append(d.Programs, name)
		}
		if err := e.task.Out().Add(path.Join(prefix, name), f.digest); err != nil {
			return fmt.Errorf("unpack %s: %w", f.from, err)
		}
	}
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	e.task.Count("packages", int64(len(e.kind.packages.All)))
	e.task.Count("files", int64(len(e.files)))
	return e.task.Out().PutBytes(ctx, layout, append(text, '\n'))
}

// Environment is an output of the stage.
type Environment struct {
	ID    string // names all that Write writes
	files cas.Tree
	description
}

// Open reads an output.
func Open(ctx context.Context, tree cas.Tree) (*Environment, error) {
	text, err := tree.ReadFile(ctx, layout)
	if err != nil {
		return nil, err
	}
	e := new(Environment)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e.description); err != nil {
		return nil, fmt.Errorf("%s: %w", layout, err)
	}
	if e.files, err = tree.Sub(ctx, prefix); err != nil { // there is conda-meta/ at least
		return nil, err
	}
	e.ID = cas.Sum(append(text, e.files.ID().String()...)).Hex()
	return e, nil
}

// Has says whether there is a program of a name in bin/.
func (e *Environment) Has(name string) bool {
	name = path.Join("bin", name)
	_, link := e.Links[name]
	return link || slices.Contains(e.Programs, name)
}

// Write writes the environment out into a folder, which is empty.
func (e *Environment) Write(ctx context.Context, store cas.Store, dir string) (err error) {
	if _, err := worktree.Write(ctx, store, e.files.ID(), dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, name := range e.Programs {
		if err := root.Chmod(filepath.FromSlash(name), 0o755); err != nil {
			return err
		}
	}
	// Links come last: no file is written through one.
	for _, name := range slices.Sorted(maps.Keys(e.Links)) {
		if err := root.MkdirAll(filepath.FromSlash(path.Dir(name)), 0o777); err != nil {
			return err
		}
		if err := root.Symlink(e.Links[name], filepath.FromSlash(name)); err != nil {
			return err
		}
	}
	return nil
}
