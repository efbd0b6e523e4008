package fetch_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/fetch"
)

// TestAsk reads the headers that servers tell a sum in.
func TestAsk(t *testing.T) {
	sum := md5.Sum([]byte("lunch"))
	text, digits := base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:])
	for _, test := range []struct {
		name, header, value string
		want                []byte
	}{
		{"Google's", "X-Goog-Hash", "crc32c=n03x6A==, md5=" + text, sum[:]},
		{"Microsoft's", "Content-MD5", text, sum[:]},
		{"a tag", "ETag", `"` + digits + `"`, sum[:]},
		{"a tag of parts", "ETag", `"` + digits + `-7"`, nil},
		{"a weak tag", "ETag", `W/"` + digits + `"`, nil},
		{"another tag", "ETag", `"5f3-1a"`, nil},
		{"half a sum", "Content-MD5", text[:12], nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodHead {
					t.Errorf("asked with %s", r.Method)
				}
				w.Header().Set(test.header, test.value)
				w.Header().Set("Content-Length", "5")
			}))
			defer server.Close()
			c, err := fetch.New(fetch.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := c.Ask(t.Context(), server.URL+"/a")
			if diff := cmp.Diff(fetch.State{Size: 5, MD5: test.want}, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// TestAskInVain: what is not there, is elsewhere, or is no HTTP server's.
func TestAskInVain(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("/b", http.StatusFound))
	defer server.Close()
	c, err := fetch.New(fetch.Options{Mirrors: map[string]string{"https://a.com": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, url := range []string{server.URL + "/a", "https://a.com/x", "s3://bucket/key", "photos/x.jpg", "http://127.0.0.1:1/x"} {
		_, err := c.Ask(t.Context(), url)
		if _, ok := errors.AsType[*fetch.Error](err); !ok {
			t.Errorf("%s: got %v", url, err)
		}
	}
}
