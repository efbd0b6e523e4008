package pack

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/licence"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages"
)

var attributionColumns = []string{"ImageID", "Author", "AuthorProfileURL", "Title", "License", "LandingURL", "OriginalURL"}

//go:embed attribution.html.tmpl
var attributionText string

// attributionPage needs nothing but itself: it has no script, picture or style from elsewhere.
var attributionPage = template.Must(template.New("attribution.html").Parse(attributionText))

// credit says whose a photo is. All of it is what the source says, whatever that is.
type credit struct {
	ID, Author, AuthorURL, Title, Licence, LandingURL, OriginalURL string
}

// LicenceName returns the licence's name, or what the source says where that is none.
func (c credit) LicenceName() string {
	if l, err := licence.Parse(c.Licence); err == nil {
		return l.String()
	}
	return c.Licence
}

// OnWeb reports whether an address can be a link: paths and buckets are told as they are.
func (credit) OnWeb(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}

// photoCount counts the photos of a package by licence.
type photoCount struct {
	total    int
	licences map[string]int
}

// addAttribution writes attribution.csv and attribution.html: a row for each photo of the
// package.
func addAttribution(ctx context.Context, t *stages.Task, pkg string) (photoCount, error) {
	found := make(map[openimages.ImageID]bool)
	for p, err := range table.Rows(ctx, t.Input(Photos), pinfile.PhotosFile, pinfile.Photos) {
		if err != nil {
			return photoCount{}, err
		}
		found[p.ImageID] = true
	}
	count := photoCount{licences: make(map[string]int)}
	var credits []credit
	for i, err := range table.Rows(ctx, t.Input(Selection), openimages.SelectedImagesFile, openimages.SelectedImages) {
		if err != nil {
			return photoCount{}, err
		}
		if !found[i.ImageID] {
			continue
		}
		count.total++
		count.licences[i.License]++
		credits = append(credits, credit{
			string(i.ImageID), openimages.PlainText(i.Author), i.AuthorProfileURL, openimages.PlainText(i.Title),
			i.License, i.OriginalLandingURL, i.OriginalURL,
		})
	}
	err := putTable(ctx, t, "data/attribution.csv", attributionColumns, func(yield func([]string) bool) {
		for c := range slices.Values(credits) {
			if !yield([]string{c.ID, c.Author, c.AuthorURL, c.Title, c.Licence, c.LandingURL, c.OriginalURL}) {
				return
			}
		}
	})
	if err != nil {
		return photoCount{}, err
	}
	var page bytes.Buffer
	err = attributionPage.Execute(&page, struct {
		Package string
		Photos  []credit
	}{pkg, credits})
	if err != nil {
		return photoCount{}, fmt.Errorf("write data/attribution.html: %w", err)
	}
	return count, t.Out().Put(ctx, "data/attribution.html", &page)
}
