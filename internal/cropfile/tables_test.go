package cropfile_test

import (
	"bytes"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
)

// again reads what was written of rows.
func again[T any](t *testing.T, rows []T, write func(io.Writer, iter.Seq[T]) error, read func(io.Reader, string) iter.Seq2[T, error]) []T {
	t.Helper()
	var buf bytes.Buffer
	if err := write(&buf, slices.Values(rows)); err != nil {
		t.Fatal(err)
	}
	var got []T
	for row, err := range read(&buf, "table.csv") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	return got
}

func TestFindingsRoundTrip(t *testing.T) {
	measures := []cropfile.Measured{{Path: "a.jpg", Sharpness: 12.34, Contrast: 5, Colour: 0.5}, {Path: "b, c.jpg", Dropped: "min_contrast"}}
	if diff := cmp.Diff(measures, again(t, measures, cropfile.WriteMeasures, cropfile.Measures)); diff != "" {
		t.Errorf("measures (-want +got)\n%s", diff)
	}
	duplicates := []cropfile.Duplicate{{Group: "a", ImageID: "b", Like: "c", How: cropfile.SameCrop, Alike: 0.912}}
	if diff := cmp.Diff(duplicates, again(t, duplicates, cropfile.WriteDuplicates, cropfile.Duplicates)); diff != "" {
		t.Errorf("duplicates (-want +got)\n%s", diff)
	}
	contradictions := []cropfile.Contradiction{{A: "a", B: "b", CropA: "crops/A/a.jpg", CropB: "crops/B/b.jpg", LabelA: "A", LabelB: `B "b"`, How: cropfile.SamePhoto}}
	if diff := cmp.Diff(contradictions, again(t, contradictions, cropfile.WriteContradictions, cropfile.Contradictions)); diff != "" {
		t.Errorf("contradictions (-want +got)\n%s", diff)
	}
	audit := cropfile.Audit{Photos: 9, Groups: 2, Duplicates: 5, WouldCross: 1}
	var buf bytes.Buffer
	if err := cropfile.WriteAudit(&buf, audit); err != nil {
		t.Fatal(err)
	}
	if got, err := cropfile.ReadAudit(&buf, "audit.json"); got != audit || err != nil {
		t.Errorf("audit: %+v, %v", got, err)
	}
	if _, err := cropfile.ReadAudit(strings.NewReader("["), "audit.json"); err == nil || !strings.HasPrefix(err.Error(), "read audit.json: ") {
		t.Errorf("a broken audit: %v", err)
	}
}

// fuzz holds that what can be read is written and read again as the same.
func fuzz[T comparable](f *testing.F, write func(io.Writer, iter.Seq[T]) error, read func(io.Reader, string) iter.Seq2[T, error], seeds ...string) {
	f.Helper()
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var rows []T
		for row, err := range read(strings.NewReader(text), "table.csv") {
			if err != nil {
				return
			}
			rows = append(rows, row)
		}
		once := again(t, rows, write, read) // numbers have lost what the table does not hold
		if twice := again(t, once, write, read); !slices.Equal(once, twice) {
			t.Fatalf("%v, then %v", once, twice)
		}
	})
}

func FuzzMeasures(f *testing.F) {
	fuzz(f, cropfile.WriteMeasures, cropfile.Measures, "Crop,Sharpness,Contrast,Colour,Dropped\na.jpg,1.25,2,3,\n", "Crop,Sharpness,Contrast,Colour,Dropped\na,NaN,-1,Inf,x\n")
}

func FuzzDuplicates(f *testing.F) {
	fuzz(f, cropfile.WriteDuplicates, cropfile.Duplicates, "Group,ImageID,Like,How,Alike\na,a,b,photo,0.99951\n", "Group,ImageID,Like,How,Alike\nb,a,a,,2\n")
}

func FuzzContradictions(f *testing.F) {
	fuzz(f, cropfile.WriteContradictions, cropfile.Contradictions, "ImageA,ImageB,CropA,CropB,LabelA,LabelB,How\na,b,,,A,B,photo\n", "\"")
}
