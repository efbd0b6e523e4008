package openimages

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
)

// boxFile draws a box file of the official V4 shape: rows of about 80 bytes, 8.4 boxes
// a photo, 600 labels.
func boxFile(rows int) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	var b bytes.Buffer
	b.WriteString(strings.Join(officialBoxColumns, ",") + "\n")
	id := uint64(0)
	for range rows {
		if r.IntN(8) == 0 {
			id += 1 + r.Uint64N(1<<40)
		}
		x, y := r.Float64(), r.Float64()
		fmt.Fprintf(&b, "%016x,xclick,/m/0%04x,1,%.6f,%.6f,%.6f,%.6f,%d,%d,0,0,0\n",
			id, 0x1000+r.IntN(600), x*0.5, 0.5+x*0.5, y*0.5, 0.5+y*0.5, r.IntN(2), r.IntN(2))
	}
	return b.Bytes()
}

var officialBoxColumns = []string{
	"ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
	"IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
}

// BenchmarkBoxes scans a box file for one label of 600, as a stage does.
func BenchmarkBoxes(b *testing.B) {
	const rows = 200_000
	file := boxFile(rows)
	wanted := map[LabelID]bool{"/m/01010": true}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		var kept []Box
		for row, err := range Boxes(bytes.NewReader(file), "boxes.csv") {
			if err != nil {
				b.Fatal(err)
			}
			if wanted[LabelID(row.LabelID())] {
				kept = append(kept, row.Box())
			}
		}
		if len(kept) == 0 {
			b.Fatal("no rows")
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

// BenchmarkImages scans an image file for one photo in a hundred.
func BenchmarkImages(b *testing.B) {
	const rows = 50_000
	var file bytes.Buffer
	file.WriteString(strings.Join(imageColumns, ",") + "\n")
	for i := range rows {
		fmt.Fprintf(&file, "%016x,train,https://farm%d.staticflickr.com/5310/%d_51085e157c_o.jpg,https://www.flickr.com/photos/someone/%d,"+
			"https://creativecommons.org/licenses/by/2.0/,https://www.flickr.com/people/someone/,\"Some One, Some Where\",A title,%d,KFukvivpCM5QXl5SqKe41g==,"+
			"https://c1.staticflickr.com/6/5310/%d_z.jpg,0.0\n", i, i%9, i, i, 1000+i, i)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for row, err := range Images(bytes.NewReader(file.Bytes()), "images.csv") {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n%100 == 0 {
				if _, err := row.Image(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

// BenchmarkScanBoxes is BenchmarkBoxes with all cores, on a file that is given.
func BenchmarkScanBoxes(b *testing.B) {
	name := os.Getenv("SANDWICH_BOXES")
	if name == "" {
		b.Skip("SANDWICH_BOXES names no box file")
	}
	for b.Loop() {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(info.Size())
		found := 0
		err = ScanBoxes(b.Context(), f, name, runtime.GOMAXPROCS(0), func(rows iter.Seq2[*BoxRow, error]) (int, error) {
			n := 0
			for row, err := range rows {
				if err != nil {
					return n, err
				}
				if string(row.LabelID()) == "/m/0cdn1" {
					n++
				}
			}
			return n, nil
		}, func(n int) error {
			found += n
			return nil
		})
		if err := errors.Join(err, f.Close()); err != nil || found == 0 {
			b.Fatalf("%d rows, %v", found, err)
		}
	}
}
