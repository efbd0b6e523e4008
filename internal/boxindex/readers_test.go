package boxindex

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// findTables returns a Python that has DuckDB, pandas and Polars. Where one is missing the test
// is skipped, but fails in CI.
func findTables(t *testing.T) string {
	t.Helper()
	python := os.Getenv("SANDWICH_TABLES")
	if cache, err := os.UserCacheDir(); python == "" && err == nil {
		python = filepath.Join(cache, "sandwich-ci", "duckdb-2.0.1", "bin", "python")
	}
	if _, err := os.Stat(python); err == nil {
		return python
	}
	const hint = "DuckDB is not installed; set SANDWICH_TABLES to the python of a virtual environment with duckdb, pandas, pyarrow and polars, as .ci/run has them"
	if os.Getenv("CI") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

// script reads the index in each of the ways that people do, and tells the same about it.
const script = `
import json, sys, duckdb, pandas, polars
folder = sys.argv[1]
def tell(df):
    df = df.copy()
    return {
        "rows": len(df), "sorted": bool(df.LabelName.is_monotonic_increasing),
        "boxes": df.groupby("LabelName").size().to_dict(),
        "photos": df.groupby("LabelName").ImageID.nunique().to_dict(),
        "depictions": df[df.IsDepiction == 1].groupby("LabelName").size().to_dict(),
        "sources": sorted(df.Source.unique()),
        "width": round(float((df.XMax.astype("float64") - df.XMin).sum()), 2),
        "unknown": int((df.IsInside == -1).sum()),
    }
print(json.dumps({
    "pandas": tell(pandas.read_parquet(folder)),
    "DuckDB": tell(duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'").df()),
    "Polars": tell(polars.read_parquet(folder + "/*.parquet").to_pandas()),
    "one label": duckdb.sql(f"SELECT count(*) FROM '{folder}/*.parquet' WHERE LabelName = '/m/0cdn1'").fetchall()[0][0],
}))
`

type told struct {
	Rows       int64            `json:"rows"`
	Sorted     bool             `json:"sorted"`
	Boxes      map[string]int64 `json:"boxes"`
	Photos     map[string]int64 `json:"photos"`
	Depictions map[string]int64 `json:"depictions"`
	Sources    []string         `json:"sources"`
	Width      float64          `json:"width"`
	Unknown    int64            `json:"unknown"`
}

// TestOthersRead holds that pandas, DuckDB and Polars read what is in an index.
func TestOthersRead(t *testing.T) {
	python := findTables(t)
	files, counts, err := build(t, official(t, 1200), Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	want := told{
		Rows: counts.Boxes, Sorted: true, Boxes: map[string]int64{}, Photos: map[string]int64{}, Depictions: map[string]int64{},
		Sources: []string{"activemil", "xclick"},
	}
	var width float64
	for _, l := range counts.Labels {
		name := FileName(l.ID)
		if err := os.WriteFile(filepath.Join(folder, name), files[name], 0o644); err != nil {
			t.Fatal(err)
		}
		want.Boxes[string(l.ID)], want.Photos[string(l.ID)] = l.Boxes, l.Images
		if n := l.Yes[openimages.Depiction]; n > 0 {
			want.Depictions[string(l.ID)] = n
		}
		want.Unknown += l.Unknown[openimages.Inside]
		for box, err := range Boxes(files[name]) {
			if err != nil {
				t.Fatal(err)
			}
			width += box.XMax.Float64() - box.XMin.Float64()
		}
	}
	command := exec.CommandContext(t.Context(), python, "-c", script, folder)
	command.Stderr = t.Output()
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatal(err)
	}
	if string(got["one label"]) != "" && string(got["one label"]) != jsonNumber(want.Boxes["/m/0cdn1"]) {
		t.Errorf("DuckDB finds %s boxes of one label, want %d", got["one label"], want.Boxes["/m/0cdn1"])
	}
	for _, reader := range []string{"pandas", "DuckDB", "Polars"} {
		var g told
		if err := json.Unmarshal(got[reader], &g); err != nil {
			t.Fatalf("%s: %v", reader, err)
		}
		if d := g.Width - width; d > 0.02 || d < -0.02 {
			t.Errorf("%s: boxes are %v wide together, want %v", reader, g.Width, width)
		}
		g.Width = 0
		if diff := cmp.Diff(want, g); diff != "" {
			t.Errorf("%s: %s", reader, diff)
		}
	}
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n) // never fails
	return string(text)
}
