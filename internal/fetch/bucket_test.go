package fetch_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/fetch"
)

// shelf is buckets in memory: bucket/key to content.
type shelf map[string]string

func (s shelf) Open(_ context.Context, bucket, key string, offset int64) (io.ReadCloser, error) {
	text, ok := s[bucket+"/"+key]
	if !ok {
		return nil, &fetch.StatusError{Code: 404}
	}
	return io.NopCloser(strings.NewReader(text[offset:])), nil
}

func (s shelf) List(_ context.Context, bucket, prefix string) iter.Seq2[fetch.Object, error] {
	return func(yield func(fetch.Object, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(s)) {
			key, ok := strings.CutPrefix(name, bucket+"/")
			if ok && strings.HasPrefix(key, prefix) && !yield(fetch.Object{Key: key, Size: int64(len(s[name]))}, nil) {
				return
			}
		}
	}
}

func TestBuckets(t *testing.T) {
	mirror := t.TempDir()
	for name, text := range map[string]string{"a/1.jpg": "one", "b.jpg": "two"} {
		if err := os.MkdirAll(filepath.Join(mirror, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mirror, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := fetch.New(fetch.Options{
		Buckets: shelf{"food/x/a b.jpg": "pie", "food/x/y/c.jpg": "soup", "food/z": "no"},
		Mirrors: map[string]string{
			"s3://drinks": mirror, "https://s3.amazonaws.com/old": mirror, "s3://moved/to": "s3://food/x", "s3://web": "https://example.org",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for url, want := range map[string]string{
		"s3://food/x/a%20b.jpg": "pie", "S3://food/x/y/c.jpg": "soup", "s3://drinks/a/1.jpg": "one", "s3://old/b.jpg": "two", "s3://moved/to/y/c.jpg": "soup",
	} {
		body, err := c.Open(t.Context(), url, fetch.Want{})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got, err := io.ReadAll(body)
		if string(got) != want || err != nil || body.Close() != nil {
			t.Errorf("%s: got %q, %v; want %q", url, got, err, want)
		}
	}
	for _, url := range []string{"s3://food/gone", "s3://drinks/gone", "s3://food/z?x", "s3://"} {
		if _, err := c.Open(t.Context(), url, fetch.Want{}); !fetch.Definite(err) {
			t.Errorf("%s: got %v, want an answer", url, err)
		}
	}
	for url, want := range map[string][]string{
		"s3://food/x/": {"a b.jpg", "y/c.jpg"}, "s3://drinks/": {"a/1.jpg", "b.jpg"}, "s3://moved/to/": {"a b.jpg", "y/c.jpg"}, "s3://food/none/": nil,
		"https://example.org/": {"error"}, "s3://web/": {"error"}, "s3://drinks/none/": {"error"},
	} {
		var got []string
		for o, err := range c.List(t.Context(), url) {
			if _, ok := errors.AsType[*fetch.Error](err); ok {
				o.Key = "error"
			} else if err != nil || o.Size == 0 {
				t.Errorf("%s: got %+v, %v", url, o, err)
			}
			got = append(got, o.Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", url, diff)
		}
	}
}
