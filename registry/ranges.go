package registry

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/quilt"
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
	file  *os.File
	list  *os.File

	mu   sync.Mutex // guards sums, and writes to list
	sums [][sha256.Size]byte
}

// fetchRanges reads and verifies a file in ranges.
func (i *install) fetchRanges(ctx context.Context, root *os.Root, temp string, e quilt.Entry) (err error) {
	chunk := quilt.ChunkSize(e.Size())
	l := &largeFetch{entry: e, sums: make([][sha256.Size]byte, (e.Size()+chunk-1)/chunk)}
	if l.file, err = root.OpenFile(temp, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return err
	}
	if l.list, err = root.OpenFile(temp+".list", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666); err != nil {
		return errors.Join(err, l.file.Close())
	}
	defer func() { err = errors.Join(err, l.file.Close(), l.list.Close()) }()
	if err := l.resume(); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for n := range l.sums {
		if l.sums[n] != [sha256.Size]byte{} {
			i.count.add(l.size(n))
			continue
		}
		if err := i.ranges.Acquire(groupCtx, 1); err != nil {
			break // the group says why
		}
		group.Go(func() error {
			defer i.ranges.Release(1)
			return i.fetchRange(groupCtx, l, n)
		})
	}
	if err := errors.Join(group.Wait(), context.Cause(ctx)); err != nil {
		return err
	}
	if quilt.ChunkedFromSums(l.sums) != e.Hash() {
		wrong := fmt.Errorf("want %s %s, got %s", e.Hash().Type, e.Hash().Value, quilt.ChunkedFromSums(l.sums).Value)
		return errors.Join(&DamageError{Object: e.Key, Err: wrong}, root.Remove(temp), root.Remove(temp+".list"))
	}
	return l.file.Truncate(e.Size())
}

func (l *largeFetch) size(n int) int64 {
	chunk := quilt.ChunkSize(l.entry.Size())
	return min(chunk, l.entry.Size()-int64(n)*chunk)
}

// section returns the bytes of a chunk in the file.
func (l *largeFetch) section(n int) *io.SectionReader {
	return io.NewSectionReader(l.file, int64(n)*quilt.ChunkSize(l.entry.Size()), l.size(n))
}

// resume takes over the chunks of an install that was cut off.
func (l *largeFetch) resume() error {
	lines := bufio.NewScanner(l.list)
	for lines.Scan() {
		var n int
		var sum []byte
		if _, err := fmt.Sscanf(lines.Text(), "%d %x", &n, &sum); err != nil || n < 0 || n >= len(l.sums) || len(sum) != sha256.Size {
			continue // the line was cut off
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, l.section(n)); err != nil {
			return err
		}
		if got := [sha256.Size]byte(hash.Sum(nil)); got == [sha256.Size]byte(sum) {
			l.sums[n] = got
		}
	}
	return lines.Err()
}

// fetchRange reads one chunk.
func (i *install) fetchRange(ctx context.Context, l *largeFetch, n int) (err error) {
	offset := int64(n) * quilt.ChunkSize(l.entry.Size())
	key, body, err := i.registry.openObject(ctx, l.entry, offset, l.size(n))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	hash := sha256.New()
	read, err := io.Copy(io.MultiWriter(io.NewOffsetWriter(l.file, offset), hash), i.count.reader(body))
	if err != nil {
		return err
	}
	if read != l.size(n) {
		return &DamageError{Object: key, Err: fmt.Errorf("%d bytes are missing", l.size(n)-read)}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums[n] = [sha256.Size]byte(hash.Sum(nil))
	_, err = fmt.Fprintf(l.list, "%d %x\n", n, l.sums[n])
	return err
}
