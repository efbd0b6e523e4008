package dirindex

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/stamp"
)

// Sum is the SHA-256 of a file. The zero Sum is one that is not known.
type Sum = [sha256.Size]byte

// Index knows the sums that the files of a folder had. It is a file:
//
//	magic, the folder's path, a mark, and for each directory a block:
//	SHA-256 of the block 32 · length 4 · the block
//
// A block has the path of the directory, its stamp, the names in it that are no files, a
// note of who uses the index, the number of files, their bytes and those of the largest,
// and the name, stamp and sum of each file. A block that is damaged knows nothing, and the
// file appears whole or not at all.
//
// A file that was written when it was read, or so shortly before that its stamp may not
// show the next change, is not remembered; it is read again the next time. So are the names
// of a directory.
type Index struct {
	file   string
	folder string
	mark   string
	began  time.Time

	old   map[string][]byte // blocks by path
	now   map[string][]byte // the blocks to save
	dirty bool              // whether a block of now is not in old
}

const magic = "sandwich folder 3\n"

// Open reads the index of a folder from a file. One that is not there, or not of this
// folder, knows nothing.
func Open(file, folder string) (*Index, error) {
	abs, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	x := &Index{file: file, folder: abs, began: time.Now(), old: map[string][]byte{}, now: map[string][]byte{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read index of %s: %w", folder, err)
	}
	rest, ok := bytes.CutPrefix(data, x.header())
	if ok {
		var mark []byte
		mark, rest, _ = bytes.Cut(rest, []byte("\n"))
		x.mark = string(mark)
	}
	for ok && len(rest) > 0 {
		var block []byte
		if block, rest, ok = cutBlock(rest); !ok {
			break // what follows cannot be found
		}
		d := decoder{rest: block[blockHeader:]}
		if name := d.text(); d.ok() {
			x.old[string(name)] = block
		}
	}
	return x, nil
}

// Mark returns what Save was told when the index became what it is.
func (x *Index) Mark() string { return x.mark }

func (x *Index) header() []byte { return fmt.Appendf(nil, "%s%s\n", magic, x.folder) }

const blockHeader = sha256.Size + 4

func cutBlock(data []byte) (block, rest []byte, ok bool) {
	if len(data) < blockHeader {
		return nil, nil, false
	}
	end := blockHeader + int64(binary.LittleEndian.Uint32(data[sha256.Size:]))
	if end > int64(len(data)) {
		return nil, nil, false
	}
	return data[:end:end], data[end:], true
}

// memory is what is known of a directory.
type memory struct {
	stamp       stamp.Stamp // of the directory
	dirs, other []string
	note        []byte
	totals      Totals
	files       decoder // at the first of totals.Files files
}

// smallestFile is what a file without a name takes in a block.
const smallestFile = 1 + 4*8 + sha256.Size

// recall returns what is known of a directory, or nil.
func (x *Index) recall(dir string) *memory {
	block, ok := x.old[dir]
	if !ok || sha256.Sum256(block[sha256.Size:]) != Sum(block) {
		return nil
	}
	r := decoder{rest: block[blockHeader:]}
	r.text() // the path
	m := &memory{stamp: r.stamp(), dirs: r.texts(), other: r.texts(), note: r.text()}
	n := r.number()
	m.totals = Totals{Files: int(n), Bytes: int64(r.number()), Largest: int64(r.number())}
	m.files = r
	if !r.ok() || n > uint64(len(r.rest)/smallestFile) {
		return nil
	}
	return m
}

// compare fills in the sums of files whose stamps are what they were, and tells whether
// the directory is what it was.
func (d *Dir) compare(m *memory) (same bool) {
	i, known, r := 0, 0, m.files
	for range m.totals.Files {
		name, was, sum := r.file()
		for i < len(d.Files) && d.Files[i].Name < string(name) {
			i++
		}
		if r.ok() && i < len(d.Files) && d.Files[i].Name == string(name) && d.Files[i].Stamp == was {
			d.Files[i].Sum = sum
			known++
		}
	}
	return known == m.totals.Files && known == len(d.Files) && slices.Equal(m.dirs, d.Dirs) && slices.Equal(m.other, d.Other)
}

// ScanAll is Scan, Load and Learn: it returns the directories with all files and their sums.
func (x *Index) ScanAll(ctx context.Context, filter Filter, read Reader) ([]Dir, error) {
	dirs, err := x.Scan(ctx, filter)
	if err != nil {
		return nil, err
	}
	for i := range dirs {
		dirs[i].Load()
	}
	return dirs, x.Learn(ctx, dirs, read)
}

// Reader returns the sum of an open file, and how many bytes it read. A zero sum is not
// remembered.
type Reader func(ctx context.Context, f *os.File) (Sum, int64, error)

// Learn reads the files whose sums are not known, several at once. Where one has changed
// since it was listed, its size becomes the number of bytes that were read.
func (x *Index) Learn(ctx context.Context, dirs []Dir, read Reader) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, d := range dirs {
		for j := range d.Files {
			f := &d.Files[j]
			if f.Sum != (Sum{}) {
				continue
			}
			group.Go(func() error {
				if err := context.Cause(groupCtx); err != nil {
					return err
				}
				return f.learn(groupCtx, filepath.Join(x.folder, filepath.FromSlash(d.Path), f.Name), read)
			})
		}
	}
	return group.Wait()
}

// unsettled is the time of a file that changed while it was read.
const unsettled = math.MaxInt64

// learn reads a file.
func (f *File) learn(ctx context.Context, name string, read Reader) (err error) {
	r, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	sum, size, err := read(ctx, r)
	if err != nil {
		return err
	}
	after, err := stamp.Of(r)
	if err != nil {
		return err
	}
	if after != f.Stamp || size != f.Stamp.Size {
		f.Stamp = stamp.Stamp{Size: size, Mtime: unsettled}
	}
	f.Sum = sum
	return nil
}

// Keep remembers the files of a directory and their sums, and a note.
func (x *Index) Keep(d *Dir, note []byte) {
	stamp := x.settled(d.stamp)
	if d.was != nil && bytes.Equal(note, d.was.note) && stamp == d.was.stamp {
		x.now[d.Path] = x.old[d.Path]
		return
	}
	d.Load()
	t := d.Totals()
	e := encoder{out: make([]byte, blockHeader, blockHeader+len(d.Path)+100*len(d.Files))}
	e.text(d.Path)
	e.stamp(stamp)
	e.texts(d.Dirs)
	e.texts(d.Other)
	e.text(string(note))
	e.number(uint64(t.Files))
	e.number(uint64(t.Bytes))
	e.number(uint64(t.Largest))
	for _, f := range d.Files {
		e.text(f.Name)
		if f.Sum == (Sum{}) {
			f.Stamp = never
		}
		e.stamp(x.settled(f.Stamp))
		e.out = append(e.out, f.Sum[:]...)
	}
	binary.LittleEndian.PutUint32(e.out[sha256.Size:], uint32(len(e.out)-blockHeader))
	sum := sha256.Sum256(e.out[sha256.Size:])
	copy(e.out, sum[:])
	x.dirty = x.dirty || !bytes.Equal(e.out, x.old[d.Path])
	x.now[d.Path] = e.out
}

// settled returns a stamp, or one that no file has when the file may change without
// getting another.
func (x *Index) settled(s stamp.Stamp) stamp.Stamp {
	if !s.Settled(x.began) {
		return never
	}
	return s
}

// never is a stamp that no file has.
var never = stamp.Stamp{Size: -1}

// Save writes what was kept, and forgets the rest. The mark is a line of who uses the index
// that is about all of it. Save does nothing when the file says the same and has that mark, or no
// other is given. Without a file, it forgets all.
func (x *Index) Save(mark string) (err error) {
	same := !x.dirty && len(x.now) == len(x.old)
	if x.file == "" || same && (mark == "" || mark == x.mark) {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write index of %s: %w", x.folder, err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(x.file), 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(x.file), filepath.Base(x.file)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // closed already on some paths; the first error is the one to tell
			_ = os.Remove(tmp.Name())
		}
	}()
	out := bufio.NewWriterSize(tmp, 1<<20)
	_, err = fmt.Fprintf(out, "%s%s\n", x.header(), mark)
	for _, name := range slices.Sorted(maps.Keys(x.now)) {
		if err == nil {
			_, err = out.Write(x.now[name])
		}
	}
	if err = errors.Join(err, out.Flush(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), x.file)
}

// encoder writes a block.
type encoder struct{ out []byte }

func (e *encoder) number(n uint64) { e.out = binary.AppendUvarint(e.out, n) }

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.out = append(e.out, s...)
}

func (e *encoder) texts(list []string) {
	e.number(uint64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

func (e *encoder) stamp(s stamp.Stamp) {
	for _, n := range []uint64{uint64(s.Size), uint64(s.Mtime), uint64(s.Ctime), s.Inode} {
		e.out = binary.LittleEndian.AppendUint64(e.out, n)
	}
}

// decoder reads a block. After the first fault it reads zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) ok() bool { return !d.bad }

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text() []byte { return d.take(d.number()) }

func (d *decoder) texts() (list []string) {
	for n := d.number(); n > 0 && d.ok(); n-- {
		list = append(list, string(d.text()))
	}
	return list
}

func (d *decoder) file() (name []byte, was stamp.Stamp, sum Sum) {
	return d.text(), d.stamp(), d.sum()
}

func (d *decoder) stamp() (s stamp.Stamp) {
	if b := d.take(4 * 8); b != nil {
		at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
		s = stamp.Stamp{Size: int64(at(0)), Mtime: int64(at(1)), Ctime: int64(at(2)), Inode: at(3)}
	}
	return s
}

func (d *decoder) sum() (s Sum) {
	copy(s[:], d.take(sha256.Size))
	return s
}
