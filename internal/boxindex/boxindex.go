// Package boxindex makes an index of box files, by label, and reads it.
//
// The index of a subset is a folder of Parquet files, one for each label, in the order of the
// labels' ids:
//
//	boxes/train/m_011k07.parquet
//	boxes/train/m_0cdn1.parquet
//	labels.json                     how many boxes and photos each label has, and each flag
//
// Pandas, Polars and DuckDB read the folder as one table, sorted by label (SELECT … FROM
// 'boxes/train/*.parquet'). It is a folder rather than one file because the store names and
// verifies whole blobs: of one file, a label could not be read without reading, or fetching
// from a colleague's cache, all of them. And what differs between two states of a data set is
// then told by digests, label by label.
//
// An index holds all that a box file does, to the letter: the number of decimals that a
// coordinate was written with stands beside it, because the text identifies a box.
package boxindex

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/parquet"
)

// LabelsFile is where the counts are in the tree of metadata.
const LabelsFile = "labels.json"

// Folder returns where the index of a subset is in the tree of metadata.
func Folder(subset string) string { return "boxes/" + subset }

const extension = ".parquet"

// FileName returns the name of a label's file, which is another for each id. Freebase's ids are
// readable in it; an id of one's own may have any bytes and is told by a digest.
func FileName(id openimages.LabelID) string {
	rest, freebase := strings.CutPrefix(string(id), "/m/")
	if freebase && rest != "" && len(rest) < 64 && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz_") == "" {
		return "m_" + rest + extension
	}
	sum := sha256.Sum256([]byte(id))
	return "x_" + hex.EncodeToString(sum[:16]) + extension
}

// Counts says what a subset has of each label.
type Counts struct {
	Subset string  `json:"subset"`
	Boxes  int64   `json:"boxes"`  // of all labels
	Labels []Label `json:"labels"` // those with boxes, sorted by id
}

// Label is what a subset has of a label.
type Label struct {
	ID     openimages.LabelID `json:"id"`
	Boxes  int64              `json:"boxes"`
	Images int64              `json:"images"` // different ones
	// Boxes by their answer to each attribute, in the order of openimages.Attribute.
	Yes     [openimages.NumAttributes]int64 `json:"yes"`
	Unknown [openimages.NumAttributes]int64 `json:"unknown"`
}

// WriteCounts writes labels.json.
func WriteCounts(w io.Writer, subsets []Counts) error {
	text, err := json.Marshal(struct {
		Subsets []Counts `json:"subsets"`
	}{subsets})
	if err != nil {
		return fmt.Errorf("write %s: %w", LabelsFile, err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// ReadCounts reads labels.json.
func ReadCounts(r io.Reader) ([]Counts, error) {
	var file struct {
		Subsets []Counts `json:"subsets"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, fmt.Errorf("read %s: %w", LabelsFile, err)
	}
	return file.Subsets, nil
}

// The columns of an index: those of the official box files, and two that say how the numbers
// were written.
var columns = []parquet.Column{
	{Name: "ImageID", Type: parquet.Text},
	{Name: "Source", Type: parquet.Text},
	{Name: "LabelName", Type: parquet.Text},
	{Name: "Confidence", Type: parquet.Float},
	{Name: "XMin", Type: parquet.Float},
	{Name: "XMax", Type: parquet.Float},
	{Name: "YMin", Type: parquet.Float},
	{Name: "YMax", Type: parquet.Float},
	{Name: "IsOccluded", Type: parquet.Int8},
	{Name: "IsTruncated", Type: parquet.Int8},
	{Name: "IsGroupOf", Type: parquet.Int8},
	{Name: "IsDepiction", Type: parquet.Int8},
	{Name: "IsInside", Type: parquet.Int8},
	{Name: "Decimals", Type: parquet.Int32},
	{Name: "Spelling", Type: parquet.Text},
}

// Indices into columns.
const (
	colImageID = iota
	colSource
	colLabel
	colConfidence
	colXMin
	colFlags    = colXMin + 4
	colDecimals = colFlags + int(openimages.NumAttributes)
	colSpelling = colDecimals + 1
)

// numbers are the fractions of a box: XMin, XMax, YMin, YMax, Confidence.
const numbers = 5

var errDamaged = errors.New("the index is damaged")
