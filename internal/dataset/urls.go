package dataset

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// urls is a table with a row for each photo or box, in a CSV or a Parquet file. Besides the
// columns of the URLs and the labels it may have those of the names below, in any case.
// A row without a label is of a photo that nothing is said of.
type urls struct{ url, label string }

func (u urls) Describe() string { return fmt.Sprintf("urls 1 %q %q", u.url, u.label) }

// The columns that a table may have, by the names that they go by.
const (
	colID = iota
	colXMin
	colXMax
	colYMin
	colYMax
	colAuthor
	colAuthorURL
	colTitle
	colLicence
	colLanding
	colSize
	colMD5
	colSHA256
	numColumns
)

var columnNames = [numColumns][]string{
	colID: {"id", "imageid"}, colXMin: {"xmin"}, colXMax: {"xmax"}, colYMin: {"ymin"}, colYMax: {"ymax"},
	colAuthor: {"author"}, colAuthorURL: {"author_url", "authorprofileurl"}, colTitle: {"title"},
	colLicence: {"license", "licence"}, colLanding: {"landing_url", "originallandingurl"},
	colSize: {"size", "originalsize"}, colMD5: {"md5", "originalmd5"}, colSHA256: {"sha256"},
}

// row is a row of a table, valid until the reader moves on.
type row interface {
	Columns() []string
	Text(column int) string
	Line() int // from 1; the header of a CSV file counts
}

func (u urls) Read(ctx context.Context, in Input, out *Tables) error {
	file := in.Files[manifest.URLTable]
	src, err := file.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // what was read is verified
	t := urlTable{urls: u, name: file.Name, out: out, photos: map[openimages.ImageID]bool{}}
	for r, err := range tableRows(src, file.Name) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = t.tell(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tableRows reads a table in the form that its first bytes tell.
func tableRows(src io.Reader, name string) iter.Seq2[row, error] {
	in := bufio.NewReader(src)
	if head, err := in.Peek(len(parquetMagic)); err == nil && string(head) == parquetMagic {
		return parquetRows(in, name)
	}
	return func(yield func(row, error) bool) {
		for r, err := range openimages.Rows(in, name) {
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// urlTable is one reading of a table.
type urlTable struct {
	urls
	name       string
	out        *Tables
	url, label int             // columns
	columns    [numColumns]int // -1 where there is none
	photos     map[openimages.ImageID]bool
	ready      bool // the columns are known
}

// find finds the columns.
func (t *urlTable) find(names []string) error {
	t.url, t.label = slices.Index(names, t.urls.url), slices.Index(names, t.urls.label)
	for _, wanted := range []struct {
		at        int
		name, key string
	}{{t.url, t.urls.url, "url"}, {t.label, t.urls.label, "label"}} {
		if wanted.at < 0 {
			return &FaultError{File: t.name, Problem: fmt.Sprintf("there is no column %s, which dataset.source.urls.%s says; it has %s",
				excerpt(wanted.name), wanted.key, excerpt(strings.Join(names, ",")))}
		}
	}
	boxes := 0
	for c, known := range columnNames {
		t.columns[c] = slices.IndexFunc(names, func(name string) bool { return slices.Contains(known, strings.ToLower(name)) })
		if c >= colXMin && c <= colYMax && t.columns[c] >= 0 {
			boxes++
		}
	}
	if boxes != 0 && boxes != 4 {
		return &FaultError{File: t.name, Problem: "want all of the columns XMin, XMax, YMin and YMax, or none"}
	}
	t.ready = true
	return nil
}

// text returns what a row has in one of the columns; nothing where there is no such column.
func (t *urlTable) text(r row, column int) string {
	if t.columns[column] < 0 {
		return ""
	}
	return strings.TrimSpace(r.Text(t.columns[column]))
}

// tell tells out of a row.
func (t *urlTable) tell(r row) error {
	if !t.ready {
		if err := t.find(r.Columns()); err != nil {
			return err
		}
	}
	fault := func(column int, err error) error {
		return &FaultError{File: t.name, Row: strconv.Itoa(r.Line()), Column: r.Columns()[column], Problem: err.Error()}
	}
	photo, column, err := t.photo(r)
	if err != nil {
		return fault(column, err)
	}
	id := t.out.id(photo)
	if !t.photos[id] {
		t.photos[id] = true
		if _, err := t.out.Photo(photo); err != nil {
			return err
		}
	}
	class := strings.TrimSpace(r.Text(t.label))
	if class == "" {
		return nil
	}
	if err := t.out.Class(classID(class), class); err != nil {
		return fault(t.label, err)
	}
	box := whole()
	for i, side := range []*openimages.Fraction{&box.XMin, &box.XMax, &box.YMin, &box.YMax} {
		text := t.text(r, colXMin+i)
		if text == "" && t.columns[colXMin+i] < 0 {
			continue
		}
		if *side, err = openimages.ParseFraction(text); err != nil {
			return fault(t.columns[colXMin+i], fmt.Errorf("%w, got %s", err, excerpt(text)))
		}
	}
	return t.out.Box(id, classID(class), box)
}

var errNotURL = errors.New("want an http, https or s3 URL")

// photo returns the photo of a row. The column is that which the error is about.
func (t *urlTable) photo(r row) (_ Photo, column int, _ error) {
	p := Photo{
		URL: strings.TrimSpace(r.Text(t.url)), Author: t.text(r, colAuthor), AuthorURL: t.text(r, colAuthorURL),
		Title: t.text(r, colTitle), Licence: t.text(r, colLicence), LandingURL: t.text(r, colLanding),
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "s3"}, strings.ToLower(u.Scheme)) {
		return p, t.url, fmt.Errorf("%w, got %s", errNotURL, excerpt(p.URL))
	}
	if p.Name = t.text(r, colID); p.Name == "" {
		p.Name = p.URL
	}
	if size := t.text(r, colSize); size != "" {
		n, err := number(size) // pandas writes a column in which some are missing as floats
		if err != nil || n < 0 || n != float64(int64(n)) {
			return p, t.columns[colSize], fmt.Errorf("want a number of bytes, got %s", excerpt(size))
		}
		p.Size = int64(n)
	}
	if p.MD5, err = md5Of(t.text(r, colMD5)); err != nil {
		return p, t.columns[colMD5], err
	}
	p.SHA256 = strings.ToLower(t.text(r, colSHA256))
	if raw, err := hex.DecodeString(p.SHA256); err != nil || (len(raw) != 32 && len(raw) != 0) {
		return p, t.columns[colSHA256], fmt.Errorf("want a SHA-256 sum in hexadecimal digits, got %s", excerpt(p.SHA256))
	}
	return p, 0, nil
}

// md5Of returns an MD5 sum, in hexadecimal digits or base64, in base64.
func md5Of(text string) (string, error) {
	const size = 16
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == size {
		return base64.StdEncoding.EncodeToString(raw), nil
	}
	if raw, err := base64.StdEncoding.DecodeString(text); text != "" && (err != nil || len(raw) != size) {
		return "", fmt.Errorf("want an MD5 sum in hexadecimal digits or base64, got %s", excerpt(text))
	}
	return text, nil
}
