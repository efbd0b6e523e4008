package folder_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

const chunk = 8 << 20

var errCut = errors.New("cut")

// chunks is a source of files of which each chunk consists of its number. It notes what is
// read, in chunks, and cuts the stream behind some bytes of a range.
type chunks struct {
	cut, behind int64 // the first chunk of the range, and the bytes; no range with -1
	read        [][2]int64
}

func (c *chunks) Open(context.Context, quilt.Entry) (io.ReadCloser, error) {
	return nil, errors.New("a large file is read in ranges")
}

func (c *chunks) OpenRange(_ context.Context, _ quilt.Entry, offset, length int64) (io.ReadCloser, error) {
	c.read = append(c.read, [2]int64{offset / chunk, length})
	r := &numbered{at: offset, end: offset + length}
	if offset/chunk == c.cut {
		r.end, r.err = offset+c.behind, errCut
	}
	return io.NopCloser(r), nil
}

// numbered reads bytes that are the number of their chunk.
type numbered struct {
	at, end int64
	err     error // at the end; nil for io.EOF
}

func (r *numbered) Read(p []byte) (int, error) {
	left := min(r.end, (r.at/chunk+1)*chunk) - r.at
	if left == 0 && r.err != nil {
		return 0, r.err
	}
	if left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), left)]
	for i := range p {
		p[i] = byte(r.at / chunk)
	}
	r.at += int64(len(p))
	return len(p), nil
}

// A range of a very large file is several chunks. What has come of a range that is cut is
// kept, chunk by chunk.
func TestRangesOfSeveralChunks(t *testing.T) {
	if testing.Short() {
		t.Skip("half a GiB")
	}
	const size = 64*chunk + 1
	hasher, err := quilt.NewHasher(quilt.SHA256Chunked, size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(hasher, &numbered{end: size}); err != nil {
		t.Fatal(err)
	}
	content, err := quilt.New(quilt.NewHeader(quilt.Value{}, quilt.Value{}, ""), []quilt.Entry{
		quilt.NewEntry("large", "", size, hasher.Hash(), quilt.Value{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "dest")
	install := func(c *chunks) (folder.Installed, error) {
		return folder.Install(t.Context(), content, c, dest, folder.Options{
			Pace: transfer.Fixed(1), Older: func(func(folder.Lookup, error) bool) {},
		})
	}
	cut := &chunks{cut: 4, behind: chunk + 1}
	if _, err := install(cut); !errors.Is(err, errCut) {
		t.Fatalf("Install = %v, want %v", err, errCut)
	}
	if diff := cmp.Diff([][2]int64{{0, 2 * chunk}, {2, 2 * chunk}, {4, 2 * chunk}}, cut.read); diff != "" {
		t.Errorf("ranges of the install that was cut off (-want +got):\n%s", diff)
	}
	again := &chunks{cut: -1}
	if done, err := install(again); err != nil || done.Fetched != 1 {
		t.Fatalf("Install = %+v, %v", done, err)
	}
	next := int64(5)
	for i, r := range again.read {
		if want := min(2*chunk, size-next*chunk); r != [2]int64{next, want} {
			t.Errorf("range %d: %v, want %d bytes from chunk %d", i, r, want, next)
		}
		next += 2
	}
	if report, err := folder.Verify(t.Context(), content, dest, nil); err != nil || !report.OK(false) {
		t.Errorf("Verify = %+v, %v", report, err)
	}
}
