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
// A block has the path of the directory, the names of the directories in it, a note of
// who uses the index, and the name, stamp and sum of each file. A block that is damaged
// knows nothing, and the file appears whole or not at all.
//
// A file that was written when it was read, or so shortly before that its stamp may not
// show the next change, is not remembered; it is read again the next time.
type Index struct {
	file   string
	folder string
	mark   string
	began  time.Time

	old   map[string][]byte // blocks by path
	now   map[string][]byte // the blocks to save
	dirty bool              // whether a block of now is not in old
}

const magic = "sandwich folder 2\n"

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

// Known is what is known of a directory.
type Known struct {
	Sums []Sum  // of the files, in their order
	Note []byte // what was kept; nil when the directory has changed in any way, but for what is in the directories below it
}

func (x *Index) recall(d Dir) Known {
	sums := make([]Sum, len(d.Files))
	block, ok := x.old[d.Path]
	if !ok || sha256.Sum256(block[sha256.Size:]) != Sum(block) {
		return Known{Sums: sums}
	}
	r := decoder{rest: block[blockHeader:]}
	r.text() // the path
	n := r.number()
	same := n == uint64(len(d.Dirs))
	for i := uint64(0); i < n && r.ok(); i++ {
		name := r.text()
		same = same && i < uint64(len(d.Dirs)) && string(name) == d.Dirs[i]
	}
	note := r.text()
	i, known := 0, 0
	for n = r.number(); n > 0 && r.ok(); n-- {
		name := r.text()
		was, sum := r.stamp(), r.sum()
		for i < len(d.Files) && d.Files[i].Name < string(name) {
			i++
		}
		if i == len(d.Files) || d.Files[i].Name != string(name) || d.Files[i].Stamp != was || !r.ok() {
			same = false
			continue
		}
		sums[i] = sum
		i, known = i+1, known+1
	}
	if !r.ok() || !same || known != len(d.Files) {
		return Known{Sums: sums}
	}
	return Known{Sums: sums, Note: note}
}

// Learn returns what there is to know of each of the directories of the folder, with the
// sums of all files. check, which may be nil, gets what is known, and may make sums zero.
// Then it opens the files whose sums are not known, several at once, and asks read for the
// sum and how many bytes there were. Where a file has changed since it was listed, its size
// in dirs becomes that number.
func (x *Index) Learn(ctx context.Context, dirs []Dir,
	check func(ctx context.Context, known []Known) error,
	read func(ctx context.Context, f *os.File) (Sum, int64, error),
) ([]Known, error) {
	all := make([]Known, len(dirs))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, d := range dirs {
		group.Go(func() error {
			all[i] = x.recall(d)
			return context.Cause(groupCtx)
		})
	}
	err := group.Wait()
	if err == nil && check != nil {
		err = check(ctx, all)
	}
	if err != nil {
		return nil, err
	}
	group, groupCtx = errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, d := range dirs {
		for j, sum := range all[i].Sums {
			if sum != (Sum{}) {
				continue
			}
			group.Go(func() error {
				if err := context.Cause(groupCtx); err != nil {
					return err
				}
				var err error
				name := filepath.Join(x.folder, filepath.FromSlash(d.Path), d.Files[j].Name)
				all[i].Sums[j], err = readFile(groupCtx, name, &d.Files[j].Stamp, read)
				return err
			})
		}
	}
	return all, group.Wait()
}

// unsettled is the time of a file that changed while it was read.
const unsettled = math.MaxInt64

func readFile(ctx context.Context, name string, listed *stamp.Stamp, read func(context.Context, *os.File) (Sum, int64, error)) (_ Sum, err error) {
	f, err := os.Open(name)
	if err != nil {
		return Sum{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum, size, err := read(ctx, f)
	if err != nil {
		return Sum{}, err
	}
	after, err := stamp.Of(f)
	if err != nil {
		return Sum{}, err
	}
	if after != *listed || size != listed.Size {
		*listed = stamp.Stamp{Size: size, Mtime: unsettled}
	}
	return sum, nil
}

// Keep remembers the sums of the files of a directory, in their order, and a note.
func (x *Index) Keep(d Dir, sums []Sum, note []byte) {
	e := encoder{out: make([]byte, blockHeader, blockHeader+len(d.Path)+100*len(d.Files))}
	e.text(d.Path)
	e.number(len(d.Dirs))
	for _, name := range d.Dirs {
		e.text(name)
	}
	e.text(string(note))
	e.number(len(d.Files))
	for i, f := range d.Files {
		e.text(f.Name)
		e.stamp(x.settled(f.Stamp))
		e.out = append(e.out, sums[i][:]...)
	}
	binary.LittleEndian.PutUint32(e.out[sha256.Size:], uint32(len(e.out)-blockHeader))
	sum := sha256.Sum256(e.out[sha256.Size:])
	copy(e.out, sum[:])
	x.dirty = x.dirty || !bytes.Equal(e.out, x.old[d.Path])
	x.now[d.Path] = e.out
}

// KeepSame remembers what was remembered of a directory, of which Known has the note.
func (x *Index) KeepSame(d Dir) { x.now[d.Path] = x.old[d.Path] }

// settled returns a stamp, or one that no file has when the file may change without
// getting another.
func (x *Index) settled(s stamp.Stamp) stamp.Stamp {
	if !s.Settled(x.began) {
		return stamp.Stamp{Size: -1}
	}
	return s
}

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

func (e *encoder) number(n int) { e.out = binary.AppendUvarint(e.out, uint64(n)) }

func (e *encoder) text(s string) {
	e.number(len(s))
	e.out = append(e.out, s...)
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
