package pin_test

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// TestPublished: a file is read again only if its server does not tell that it is the same.
func TestPublished(t *testing.T) {
	content, tells := "boxes", true
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method)
		if tells {
			sum := md5.Sum([]byte(content))
			w.Header().Set("X-Goog-Hash", "md5="+base64.StdEncoding.EncodeToString(sum[:]))
		}
		_, _ = w.Write([]byte(content))
	}))
	defer server.Close()
	client, err := fetch.New(fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := &pin.Resolver{Blobs: pin.Blobs{Client: client, Store: cas.NewMemory()}}
	file := manifest.SourceFile{Role: manifest.BoxRows, Subset: "train", URL: server.URL + "/boxes.csv"}
	again := file
	again.Subset = "test"
	files := []manifest.SourceFile{file, again}
	have, err := r.Sources(t.Context(), files, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name    string
		content string
		tells   bool
		asked   []string
	}{
		{"the same", "boxes", true, []string{"HEAD"}},
		{"other boxes", "other", true, []string{"HEAD", "GET"}},
		{"these again", "other", true, []string{"HEAD"}},
		{"no sum", "other", false, []string{"HEAD", "GET"}},
	} {
		asked, content, tells = nil, step.content, step.tells
		if have, err = r.Published(t.Context(), files, have); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if len(have) != 1 || have[0].Digest.Encoded() != cas.Sum([]byte(content)).Hex() || !slices.Equal(asked, step.asked) {
			t.Errorf("%s: got %v after %v, want %v", step.name, have, asked, step.asked)
		}
	}
}
