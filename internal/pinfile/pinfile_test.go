package pinfile_test

import (
	"bytes"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/stages/cas"
)

const (
	photos = `ImageID,Place,URL,SHA256,Size
000a1249af2bc5f0,original,https://farm1.staticflickr.com/8087/8563450894_8f2fda7196_o.jpg,ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad,3
001840a807e454c7,cvdf,"https://a.com/x,y",e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,0
`
	dead = `ImageID,Reason
00075905539074f2,original: 404 Not Found; cvdf: deleted on Flickr
0009,"original: a ""quoted"", reason"
`
)

func all[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var items []T
	for item, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	return items
}

func TestRoundTrip(t *testing.T) {
	ps := all(t, pinfile.Photos(strings.NewReader(photos), "pins.csv"))
	if len(ps) != 2 || ps[0].Place != pinfile.Original || ps[0].Digest != cas.Sum([]byte("abc")) || ps[1].URL != "https://a.com/x,y" {
		t.Errorf("got %v", ps)
	}
	var out bytes.Buffer
	if err := pinfile.WritePhotos(&out, slices.Values(ps)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(photos, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := pinfile.WriteDead(&out, slices.Values(all(t, pinfile.DeadPhotos(strings.NewReader(dead), "dead.csv")))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dead, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsNameTheLine(t *testing.T) {
	const header = "ImageID,Place,URL,SHA256,Size\n"
	row := strings.SplitAfter(photos, "\n")[1]
	for _, tt := range []struct{ text, want string }{
		{"", "pins.csv: want the columns ImageID,Place,URL,SHA256,Size, got an empty file"},
		{"a,b\n", "pins.csv: record on line 1: wrong number of fields"},
		{"a,b,c,d,e\n", "pins.csv: want the columns ImageID,Place,URL,SHA256,Size, got a,b,c,d,e"},
		{header + row + row, `pins.csv:3: want rows sorted by ImageID, each once: "000a1249af2bc5f0" after "000a1249af2bc5f0"`},
		{header + "../x,original,u,00,1\n", `pins.csv:2: want an ImageID that can be a file name, got "../x"`},
		{header + "x,original,u,00,1\n", `pins.csv:2: digest "00": invalid checksum digest length`},
		{header + "x,original,u,00,one\n", `pins.csv:2: want a Size in bytes, got "one"`},
	} {
		var got error
		for _, err := range pinfile.Photos(strings.NewReader(tt.text), "pins.csv") {
			got = err
		}
		if got == nil || got.Error() != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.text, got, tt.want)
		}
	}
	twice := []pinfile.Dead{{ImageID: "b"}, {ImageID: "a"}}
	if err := pinfile.WriteDead(&bytes.Buffer{}, slices.Values(twice)); err == nil {
		t.Error("rows out of order were written")
	}
}

func FuzzPhotos(f *testing.F) {
	f.Add(photos)
	f.Add("ImageID,Place,URL,SHA256,Size\r\nx,\"\n\",,,\n")
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, pinfile.Photos, pinfile.WritePhotos) })
}

func FuzzDead(f *testing.F) {
	f.Add(dead)
	f.Add("ImageID,Reason\nx,\"a\r\nb\"\n")
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, text, pinfile.DeadPhotos, pinfile.WriteDead) })
}

// roundTrip checks that what can be read can be written, and is the same when read
// again.
func roundTrip[T any](
	t *testing.T, text string,
	read func(r io.Reader, file string) iter.Seq2[T, error],
	write func(w io.Writer, items iter.Seq[T]) error,
) {
	t.Helper()
	var items []T
	for item, err := range read(strings.NewReader(text), "fuzz.csv") {
		if err != nil {
			return
		}
		items = append(items, item)
	}
	var out bytes.Buffer
	if err := write(&out, slices.Values(items)); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	again := all(t, read(bytes.NewReader(out.Bytes()), "again.csv"))
	if len(items) != len(again) {
		t.Fatalf("%q: %d rows became %d", text, len(items), len(again))
	}
}
