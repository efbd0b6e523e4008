package folder

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/flush"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// largeFile is the size from which a file is read in ranges, several at a time. One
// stream of an object store is slower than most networks.
const largeFile = 32 << 20

// largeName returns where the parts of a large file are collected. It is found again when
// the install was cut off.
func largeName(e quilt.Entry) string {
	return fmt.Sprintf("large/%x", sha256.Sum256([]byte(e.Key+"\x00"+e.Hash().Value)))
}

// largeFetch is a file that is read in ranges: the chunks that its hash is made of.
// Beside the file stands a list of the chunks that are there, a line each with number and
// sha256. An install that goes on believes a line when the chunk in the file has that
// hash.
type largeFetch struct {
	entry quilt.Entry
	count *transfer.File
	file  *os.File
	list  *os.File

	writing sync.Mutex // held while file is written

	mu   sync.Mutex // guards sums, and writes to list
	sums [][sha256.Size]byte
}

// fetchLarge reads and verifies a file in ranges, and moves it to its place.
func (i *install) fetchLarge(ctx context.Context, root *os.Root, e quilt.Entry) error {
	temp, target := largeName(e), path.Join("files", e.Key)
	if err := i.fetchRanges(ctx, root, temp, e); err != nil {
		return err
	}
	if _, err := root.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(&TwinsError{Key: e.Key}, err)
	}
	return root.Rename(temp, target)
}

// fetchRanges reads and verifies a file in ranges.
func (i *install) fetchRanges(ctx context.Context, root *os.Root, temp string, e quilt.Entry) (err error) {
	chunk := quilt.ChunkSize(e.Size())
	l := &largeFetch{entry: e, count: i.meter.File(e.Size()), sums: make([][sha256.Size]byte, (e.Size()+chunk-1)/chunk)}
	if l.file, err = root.OpenFile(temp, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return err
	}
	if l.list, err = root.OpenFile(temp+".list", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666); err != nil {
		return errors.Join(err, l.file.Close())
	}
	defer func() { err = errors.Join(err, l.file.Close(), l.list.Close()) }()
	if err := l.resume(ctx); err != nil {
		return err
	}
	if err := l.file.Truncate(e.Size()); err != nil { // before the chunks, none of which makes it grow then
		return err
	}
	if err := i.fetchChunks(ctx, l); err != nil {
		return err
	}
	if quilt.ChunkedFromSums(l.sums) != e.Hash() {
		wrong := fmt.Errorf("want %s %s, got %s", e.Hash().Type, e.Hash().Value, quilt.ChunkedFromSums(l.sums).Value)
		return errors.Join(&objects.DamageError{Object: e.Key, Err: wrong}, root.Remove(temp), root.Remove(temp+".list"))
	}
	l.count.Done()
	return nil
}

// A request costs a server as much as a MiB and more, so a range is several chunks where that
// leaves ranges enough to read at once: 1 GiB from versitygw took 2.1 s in ranges of one chunk
// and takes 1.8 s in ranges of four. What has come of a range that is cut off is kept.
const (
	ranges    = 32 // that a file is divided into, or more
	maxChunks = 8  // of a range, so that a very large file is read by as many streams as prove good
)

// fetchChunks reads the chunks that are missing: range after range in the turn that this
// file has, and others beside it as far as the pace has turns.
func (i *install) fetchChunks(ctx context.Context, l *largeFetch) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for next := 0; next < len(l.sums); {
		from := next
		if next = l.missing(from); next == from {
			l.count.Have(l.size(from))
			next++
			continue
		}
		to := next
		if i.pace.TryAcquire() {
			group.Go(func() error {
				defer i.pace.Release(l.span(from, to))
				return i.fetchRange(groupCtx, l, from, to)
			})
			continue
		}
		if err := i.fetchRange(groupCtx, l, from, to); err != nil {
			group.Go(func() error { return err }) // which stops the others
			break
		}
	}
	return group.Wait()
}

// missing returns the end of the range that starts with a chunk; that chunk itself when it
// is there.
func (l *largeFetch) missing(from int) int {
	end := from + min(max(len(l.sums)/ranges, 1), maxChunks)
	for n := from; n < min(end, len(l.sums)); n++ {
		if l.sums[n] != [sha256.Size]byte{} {
			return n
		}
	}
	return min(end, len(l.sums))
}

// span returns the bytes of the chunks from one to before another.
func (l *largeFetch) span(from, to int) int64 {
	chunk := quilt.ChunkSize(l.entry.Size())
	return min(int64(to)*chunk, l.entry.Size()) - int64(from)*chunk
}

func (l *largeFetch) size(n int) int64 { return l.span(n, n+1) }

// section returns the bytes of a chunk in the file.
func (l *largeFetch) section(n int) *io.SectionReader {
	return io.NewSectionReader(l.file, int64(n)*quilt.ChunkSize(l.entry.Size()), l.size(n))
}

// resume takes over the chunks of an install that was cut off.
func (l *largeFetch) resume(ctx context.Context) error {
	lines := bufio.NewScanner(l.list)
	for lines.Scan() {
		var n int
		var sum []byte
		if _, err := fmt.Sscanf(lines.Text(), "%d %x", &n, &sum); err != nil || n < 0 || n >= len(l.sums) || len(sum) != sha256.Size {
			continue // the line was cut off
		}
		hash := sha256.New()
		if _, err := copyBytes(ctx, hash, l.section(n)); err != nil {
			return err
		}
		if got := [sha256.Size]byte(hash.Sum(nil)); got == [sha256.Size]byte(sum) {
			l.sums[n] = got
		}
	}
	return lines.Err()
}

// chunkWriter writes the bytes of a chunk to their place in the file. Others wait outside of
// the kernel meanwhile: file systems let one write to a file at a time, and who waits for
// that inside keeps a processor from hashing and reading.
type chunkWriter struct {
	fetch  *largeFetch
	offset int64
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	w.fetch.writing.Lock()
	defer w.fetch.writing.Unlock()
	n, err := w.fetch.file.WriteAt(p, w.offset)
	w.offset += int64(n)
	return n, err
}

// fetchRange reads the chunks from one to before another.
func (i *install) fetchRange(ctx context.Context, l *largeFetch, from, to int) (err error) {
	body, err := i.source.OpenRange(ctx, l.entry, int64(from)*quilt.ChunkSize(l.entry.Size()), l.span(from, to))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	for n := from; n < to; n++ {
		if err := l.take(ctx, n, body); err != nil {
			return err
		}
	}
	return nil
}

// take makes the next bytes of body a chunk.
func (l *largeFetch) take(ctx context.Context, n int, body io.Reader) error {
	offset := int64(n) * quilt.ChunkSize(l.entry.Size())
	hash := sha256.New()
	read, err := copyBytes(ctx, io.MultiWriter(&chunkWriter{l, offset}, hash), io.LimitReader(body, l.size(n)))
	if err != nil {
		return err
	}
	if read != l.size(n) {
		return &objects.DamageError{Object: l.entry.Key, Err: fmt.Errorf("%d bytes are missing", l.size(n)-read)}
	}
	flush.Begin(l.file, offset, read)
	l.count.Add(read)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums[n] = [sha256.Size]byte(hash.Sum(nil))
	_, err = fmt.Fprintf(l.list, "%d %x\n", n, l.sums[n])
	return err
}
