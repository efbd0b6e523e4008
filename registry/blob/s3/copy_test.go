package s3_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// credentials points the AWS configuration to some, and to nothing else.
func credentials(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "y")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
}

// sumOf returns the sum of a file in a package.
func sumOf(data []byte) [sha256.Size]byte {
	if len(data) == 0 {
		return sha256.Sum256(nil)
	}
	sum, _ := quilt.ChunkedFromSums(sums(data)).Sum()
	return sum
}

// differs reports whether a copy was refused since the source has other bytes, or the
// server does not tell which it copied.
func differs(err error) bool {
	return errors.Is(err, blob.ErrDiffers) || errors.Is(err, errors.ErrUnsupported)
}

// The server copies between buckets, whatever the size, without a byte through this
// process; and what has another sum is never there.
func TestCopyFrom(t *testing.T) {
	server := s3test.Start(t)
	for label, versioned := range map[string]bool{"with versions": true, "without versions": false} {
		t.Run(label, func(t *testing.T) {
			from, to := server.NewBucket(t, versioned), server.NewBucket(t, versioned)
			source := open(t, from, s3.Options{})
			proxy := server.NewProxy(t)
			dest := open(t, to, s3.Options{Endpoint: proxy.Endpoint})
			const key = "a/é + b?c#%.bin"
			for _, size := range []int{0, 1, 8<<20 - 1, 8 << 20, 8<<20 + 1, 20 << 20} {
				data := noise(size)
				version, err := source.PutVersion(t.Context(), key, blob.Bytes(data))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := source.PutVersion(t.Context(), key, blob.Bytes([]byte("newer"))); versioned && err != nil {
					t.Fatal(err)
				}
				at := quilt.PhysicalKey{Bucket: from, Path: key, Version: version}
				proxy.Plan(nil)
				id, err := dest.CopyFrom(t.Context(), key, at, int64(size), sumOf(data))
				if !versioned {
					// The source is another one by now.
					if size > 0 && !differs(err) {
						t.Errorf("%d bytes: CopyFrom of another blob = %v, want %v", size, err, blob.ErrDiffers)
					}
					at.Version = ""
					if err := source.Put(t.Context(), key, blob.Bytes(data)); err != nil {
						t.Fatal(err)
					}
					id, err = dest.CopyFrom(t.Context(), key, at, int64(size), sumOf(data))
				}
				if err != nil || (id != "") != versioned {
					t.Errorf("%d bytes: CopyFrom = %q, %v", size, id, err)
				}
				if n := proxy.Sent(); n > 4<<10 {
					t.Errorf("%d bytes: %d were sent", size, n)
				}
				got, err := blob.ReadAll(t.Context(), dest, key, 30<<20)
				if err != nil || string(got) != string(data) {
					t.Errorf("%d bytes: %d are there, %v", size, len(got), err)
				}
				if v, err := dest.StatVersion(t.Context(), key); err != nil || v.Sum != nil && [sha256.Size]byte(v.Sum) != sumOf(data) {
					t.Errorf("%d bytes: StatVersion = %+v, %v", size, v, err)
				}
				if size == 0 {
					continue
				}
				wrong := sumOf(append([]byte("x"), data...))
				if _, err := dest.CopyFrom(t.Context(), "wrong", at, int64(size), wrong); !differs(err) {
					t.Errorf("%d bytes with another sum: %v", size, err)
				}
				if _, err := dest.Stat(t.Context(), "wrong"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%d bytes with another sum are there: %v", size, err)
				}
			}
			if n := server.Uploads(t, to); n > 0 {
				t.Errorf("%d unfinished uploads are left", n)
			}
		})
	}
}

// What is too large for one request is copied in parts, also by a server that does not tell
// the checksums of those, as long as the source is the one whose checksum is right.
func TestCopyOfWhatIsTooLargeForOneRequest(t *testing.T) {
	server := s3test.Start(t)
	from, to := server.NewBucket(t, true), server.NewBucket(t, true)
	proxy := server.NewProxy(t)
	source, dest := open(t, from, s3.Options{}), open(t, to, s3.Options{Endpoint: proxy.Endpoint})
	dest.LimitCopies(10 << 20)
	data := noise(20 << 20)
	version, err := source.PutVersion(t.Context(), "k", blob.Bytes(data))
	if err != nil {
		t.Fatal(err)
	}
	at := quilt.PhysicalKey{Bucket: from, Path: "k", Version: version}
	if _, err := dest.CopyFrom(t.Context(), "k", at, int64(len(data)), sumOf(data)); err != nil {
		t.Fatal(err)
	}
	got, err := blob.ReadAll(t.Context(), dest, "k", 30<<20)
	if err != nil || string(got) != string(data) {
		t.Errorf("%d bytes are there, %v", len(got), err)
	}
	if n := proxy.Sent(); n > 4<<10 {
		t.Errorf("%d bytes were sent", n)
	}
	// Another source takes its place while it is copied.
	at.Version = ""
	var replaced sync.Once
	proxy.Plan(func(r s3test.Request) *s3test.Fault {
		if r.Query.Get("partNumber") == "2" {
			replaced.Do(func() {
				if err := source.Put(t.Context(), "k", blob.Bytes(noise(20<<20-1))); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	})
	if _, err := dest.CopyFrom(t.Context(), "other", at, int64(len(data)), sumOf(data)); err == nil {
		t.Error("a source that was replaced was copied")
	}
	if _, err := dest.Stat(t.Context(), "other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a mixture of two sources is there: %v", err)
	}
	if n := server.Uploads(t, to); n > 0 {
		t.Errorf("%d unfinished uploads are left", n)
	}
}

// What the server does not copy is for the caller to send.
func TestCopyIsRefused(t *testing.T) {
	server := s3test.Start(t)
	from, to := server.NewBucket(t, true), server.NewBucket(t, true)
	proxy := server.NewProxy(t)
	dest := open(t, to, s3.Options{Endpoint: proxy.Endpoint})
	data := noise(9 << 20)
	if err := open(t, from, s3.Options{}).Put(t.Context(), "k", blob.Bytes(data)); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{http.StatusForbidden, http.StatusNotImplemented} {
		proxy.Plan(func(r s3test.Request) *s3test.Fault {
			if r.Method == http.MethodPut {
				return &s3test.Fault{Status: status}
			}
			return nil
		})
		for key, size := range map[string]int64{"k": 9 << 20, "absent": 1} {
			if _, err := dest.CopyFrom(t.Context(), "new", quilt.PhysicalKey{Bucket: from, Path: key}, size, sumOf(data)); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("CopyFrom of %s = %v, want %v", key, err, errors.ErrUnsupported)
			}
		}
	}
}

// amazon is as much of S3 as a copy in parts takes, with checksums, which other servers do
// not tell. It counts the uploads that were finished and removed.
type amazon struct {
	data               []byte
	completed, aborted int
}

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var from, to int
	_, _ = fmt.Sscanf(r.Header.Get("X-Amz-Copy-Source-Range"), "bytes=%d-%d", &from, &to)
	switch {
	case r.Method == http.MethodHead:
		w.Header().Set("Content-Length", fmt.Sprint(len(a.data)))
		w.Header().Set("ETag", `"e"`)
	case r.Method == http.MethodPost && query.Has("uploads"):
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPut:
		sum := sha256.Sum256(a.data[from : to+1])
		fmt.Fprintf(w, "<CopyPartResult><ETag>p</ETag><ChecksumSHA256>%s</ChecksumSHA256></CopyPartResult>", base64.StdEncoding.EncodeToString(sum[:]))
	case r.Method == http.MethodPost:
		a.completed++
		w.Header().Set("X-Amz-Version-Id", "v1")
		fmt.Fprint(w, "<CompleteMultipartUploadResult><ChecksumSHA256>x-1</ChecksumSHA256></CompleteMultipartUploadResult>")
	case r.Method == http.MethodDelete && a.aborted == 0:
		a.aborted++
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// In parts the server tells what it has copied, and what is not right is never finished.
func TestCopyInParts(t *testing.T) {
	credentials(t)
	for _, size := range []int{1, 8 << 20, 20<<20 + 1} {
		a := &amazon{data: noise(size)}
		server := httptest.NewServer(a)
		store := open(t, "bucket", s3.Options{Endpoint: server.URL})
		from := quilt.PhysicalKey{Bucket: "other", Path: "k"}
		id, err := store.CopyFrom(t.Context(), "k", from, int64(size), sumOf(a.data))
		if err != nil || id != "v1" || a.completed != 1 || a.aborted != 0 {
			t.Errorf("%d bytes: CopyFrom = %q, %v; %d uploads finished, %d removed", size, id, err, a.completed, a.aborted)
		}
		if _, err := store.CopyFrom(t.Context(), "k", from, int64(size), sumOf([]byte("other"))); !errors.Is(err, blob.ErrDiffers) || a.completed != 1 || a.aborted != 1 {
			t.Errorf("%d other bytes: CopyFrom = %v; %d uploads finished, %d removed", size, err, a.completed, a.aborted)
		}
		server.Close()
	}
}
