package sandbox

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Carried is a program of this machine that runs in any image, because all that it is linked with comes
// along.
type Carried struct {
	Args   []string // that start it
	Mounts []Mount  // that it needs
}

// ErrForeign says that a program is none of Linux, which images are systems of.
var ErrForeign = errors.New("it is no program of Linux")

// Carry has a program come along into images, where its path is at. dir is an empty folder of this machine
// for that, which is mounted there with all that lies beside the program. A program that is linked statically needs nothing else; one that is not, as the Go compiler makes them where
// there is one for C, brings its loader, and its libraries, which lie beside that.
func Carry(program, dir, at string) (Carried, error) {
	files, err := linked(program)
	if err != nil {
		return Carried{}, fmt.Errorf("%s: %w", program, err)
	}
	files[0].name = at
	folder := path.Dir(at)
	c := Carried{Args: []string{at}, Mounts: []Mount{{From: dir, To: folder}}}
	for _, file := range files {
		name := path.Base(file.name)
		// To mount it there, the folder must have it.
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			return Carried{}, err
		}
		c.Mounts = append(c.Mounts, Mount{From: file.from, To: path.Join(folder, name)})
	}
	if len(files) > 1 {
		c.Args = []string{path.Join(folder, path.Base(files[1].name)), "--library-path", folder, at}
	}
	return c, nil
}

// linkedFile is a file that a program needs, by the name that it is asked for.
type linkedFile struct{ name, from string }

// linked are the files of a program: itself, its loader, its libraries and theirs.
func linked(program string) ([]linkedFile, error) {
	files := []linkedFile{{program, program}}
	loader, wanted, err := dynamic(program)
	if err != nil || loader == "" {
		return files, err
	}
	real, err := filepath.EvalSymlinks(loader)
	if err != nil {
		return nil, err
	}
	files = append(files, linkedFile{loader, real})
	known := map[string]bool{path.Base(loader): true}
	for len(wanted) > 0 {
		name := wanted[0]
		wanted = wanted[1:]
		if known[name] {
			continue
		}
		known[name] = true
		from := filepath.Join(filepath.Dir(real), name)
		_, more, err := dynamic(from)
		if err != nil {
			return nil, fmt.Errorf("the library %s: %w (with CGO_ENABLED=0 the program is built without libraries)", name, err)
		}
		files = append(files, linkedFile{name, from})
		wanted = append(wanted, more...)
	}
	return files, nil
}

// dynamic returns the loader of a program, which is empty for a static one, and the libraries that it, or a
// library, is linked with.
func dynamic(file string) (loader string, libraries []string, err error) {
	f, err := elf.Open(file)
	if _, unread := errors.AsType[*fs.PathError](err); err != nil && !unread {
		return "", nil, ErrForeign // some kinds of file end before that is known
	}
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if i := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }); i >= 0 {
		text, err := io.ReadAll(f.Progs[i].Open())
		if err != nil {
			return "", nil, err
		}
		loader = strings.TrimRight(string(text), "\x00")
	}
	libraries, err = f.ImportedLibraries()
	return loader, libraries, err
}
