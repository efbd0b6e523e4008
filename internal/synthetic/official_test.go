package synthetic

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"image/jpeg"
	"math"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is measured on an official data set holds for Open Images if its rows are like those.
func TestOfficialStatistics(t *testing.T) {
	const photos = 4000
	d := Dataset{Seed: 1, Photos: photos, Shape: Official}
	files := memory{}
	if err := d.WriteMetadata(t.Context(), files.create); err != nil {
		t.Fatal(err)
	}
	boxBytes, imageBytes := files[d.boxesFile()].Len(), files[d.imagesFile()].Len()
	boxes, images := files.table(t, d.boxesFile())[1:], files.table(t, d.imagesFile())[1:]
	labels, flags, sources := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, b := range boxes {
		labels[b[2]]++
		sources[b[1]]++
		for i, f := range b[8:] {
			flags[boxColumns[8+i]+"="+f]++
		}
	}
	most := 0.
	for _, n := range labels {
		most = max(most, n)
	}
	all := float64(len(boxes))
	for _, c := range []struct {
		what            string
		got, want, most float64 // most is how far off it may be, of want
	}{
		{"boxes of a photo", all / photos, 14_610_229. / 1_743_042, 0.03},
		{"bytes of a box", float64(boxBytes) / all, 82, 0.04},
		{"bytes of a photo's row", float64(imageBytes) / photos, 638_407_721. / 1_743_042, 0.04},
		{"the most frequent label", most / all, 1_438_128. / 14_610_229, 0.15},
		{"labels, of which the rarest are on one photo in 5,000", float64(len(labels)), 600, 0.3},
		{"activemil", sources["activemil"] / all, 1_559_697. / 14_610_229, 0.05},
		{"occluded", flags["IsOccluded=1"] / all, 0.66, 0.03},
		{"truncated", flags["IsTruncated=1"] / all, 0.25, 0.05},
		{"groups", flags["IsGroupOf=1"] / all, 0.06, 0.1},
		{"unanswered", flags["IsInside=-1"] / all, 21_871. / 14_610_229, 0.4},
	} {
		if math.Abs(c.got-c.want) > c.most*c.want {
			t.Errorf("%s: got %.4g, upstream has %.4g", c.what, c.got, c.want)
		}
	}
	if len(images) != photos {
		t.Errorf("got %d photos", len(images))
	}
	if list := officialClasses(); len(list) != officialLabels || list[len(list)-1] == list[len(list)-2] {
		t.Errorf("%d labels", len(list))
	}
}

// Rows are bytes that others compare with: they may never change.
func TestOfficialIsFixed(t *testing.T) {
	files := memory{}
	d := Dataset{Seed: 7, Photos: 600, Shape: Official, Subset: "validation", Fault: Shares(7, map[Fault]float64{Dead: 0.1, Broken: 0.1})}
	if err := d.WriteMetadata(t.Context(), files.create); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, b := range files {
		got[name] = fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))[:16]
	}
	want := map[string]string{
		classesFile:    "0ab88e345b3547c4",
		hierarchyFile:  "fa32256dee1958f0",
		d.boxesFile():  "e058b078479fe13b",
		d.imagesFile(): "a8a1832ab3a30c52",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What a row promises is at its URLs.
func TestFind(t *testing.T) {
	d := Dataset{Seed: 3, Photos: 300, Shape: Official, Fault: func(photo int) Fault { return Fault(photo % 6) }}
	files := memory{}
	if err := d.WriteMetadata(t.Context(), files.create); err != nil {
		t.Fatal(err)
	}
	for i, row := range files.table(t, d.imagesFile())[1:] {
		original, there := d.Find(mirrored(row[2]))
		thumbnail, second := d.Find(mirrored(row[10]))
		switch Fault(i % 6) {
		case Dead:
			if there || second {
				t.Fatalf("%s is dead, and there", row[0])
			}
			continue
		case ThumbnailOnly:
			if _, err := jpeg.Decode(bytes.NewReader(thumbnail)); there || err != nil {
				t.Fatalf("thumbnail of %s: %v", row[0], err)
			}
			continue
		}
		sum := md5.Sum(original)
		if !there || strconv.Itoa(len(original)) != row[8] || base64.StdEncoding.EncodeToString(sum[:]) != row[9] {
			t.Fatalf("%s: size or MD5 are not those of the file", row[0])
		}
		if _, err := jpeg.Decode(bytes.NewReader(original)); (err == nil) == (Fault(i%6) == Broken) {
			t.Fatalf("%s: %v", row[0], err)
		}
	}
	for _, place := range []string{"", "farm1.staticflickr.com/1/5_x_o.jpg", "farm1.staticflickr.com/1/2000000000_0_o.jpg",
		"farm1.staticflickr.com/1/99999999999_0_o.jpg", "storage.googleapis.com/openimages"} {
		if _, ok := d.Find(place); ok {
			t.Errorf("there is something at %q", place)
		}
	}
}
