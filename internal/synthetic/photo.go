package synthetic

import (
	"bytes"
	"cmp"
	"crypto/md5" // as the official rows have it; it protects nothing
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/dice"
	"github.com/sandwich-build/sandwich/internal/drawing"
)

// Photo is a photo with its row and its boxes.
type Photo struct {
	ID    string // 16 hex digits; ids ascend with the number of the photo
	Boxes []Box  // sorted by label, then from left to right

	Original  []byte // nil when it is gone
	Thumbnail []byte // nil when it is gone, as most are here: only a missing original asks for one

	OriginalURL, LandingURL, ProfileURL, ThumbnailURL string
	Author, Title                                     string
	Size                                              int    // of the original, also when that is gone
	MD5                                               string // of the original, in base64
	Rotation                                          string // degrees counterclockwise that turn photo and boxes upright; empty when dead
}

// Box is a box of a photo, in fractions of the width and height of the stored
// picture.
type Box struct {
	Label                  string // id
	Source                 string // xclick or activemil
	XMin, XMax, YMin, YMax float64
	Flags                  [5]int // occluded, truncated, group of, depiction, inside; -1 where nobody said
}

// Photo makes a photo by its number, which is from 0 to Photos-1.
func (d Dataset) Photo(number int) (Photo, error) {
	fault := Sound
	if d.Fault != nil {
		fault = d.Fault(number)
	}
	roll := dice.New(d.Seed).Fork("photo", number)
	if d.Shape == Official {
		return d.official(number, roll, fault), nil
	}
	picture := drawing.Draw(roll.Fork("drawing", 0))
	p := Photo{ID: d.id(number, roll), Rotation: "0.0"}
	switch fault {
	case TurnedLeft:
		picture, p.Rotation = picture.Turn(90), "90.0"
	case TurnedRight:
		picture, p.Rotation = picture.Turn(270), "270.0"
	case Dead:
		p.Rotation = ""
	}
	p.Boxes = boxesOf(picture, roll.Fork("boxes", 0))
	p.describe(roll.Fork("row", 0))
	if err := p.encode(picture.Image, roll.Fork("quality", 0), fault); err != nil {
		return Photo{}, fmt.Errorf("photo %d: %w", number, err)
	}
	return p, nil
}

// id draws an id from this photo's share of all ids, so that ids are in the order of
// the numbers, as the official tables are, without a sort.
func (d Dataset) id(number int, roll *dice.Dice) string {
	share := math.MaxUint64 / uint64(d.Photos)
	return fmt.Sprintf("%016x", uint64(number)*share+roll.Fork("id", 0).Uint64()%share)
}

// encode stores the picture, with the fault that it has.
func (p *Photo) encode(img image.Image, roll *dice.Dice, fault Fault) error {
	original, err := encodeJPEG(img, roll.Int(62, 72))
	if err != nil {
		return err
	}
	if fault == Broken {
		original = original[:len(original)*2/5]
	}
	sum := md5.Sum(original)
	p.Size, p.MD5 = len(original), base64.StdEncoding.EncodeToString(sum[:])
	switch fault {
	case Dead:
	case ThumbnailOnly:
		p.Thumbnail, err = encodeJPEG(img, 55)
	default:
		p.Original = original
	}
	return err
}

func encodeJPEG(img image.Image, quality int) ([]byte, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode jpeg: %w", err)
	}
	return b.Bytes(), nil
}

// describe fills in what the photo's page would say.
func (p *Photo) describe(roll *dice.Dice) {
	by := dice.Pick(roll, authors)
	p.Author, p.Title = by.name, dice.Pick(roll, titles)
	farm, server := roll.Int(1, 3), dice.Pick(roll, []int{65, 1402, 2127, 3815})
	p.place(farm, server, 2_000_000_000+roll.Below(7_000_000_000), by.account, roll)
}

// place gives the photo its URLs.
func (p *Photo) place(farm, server, photo int, account string, roll *dice.Dice) {
	p.OriginalURL = fmt.Sprintf("https://farm%d.staticflickr.com/%d/%d_%010x_o.jpg", farm, server, photo, roll.Uint64()>>24)
	p.ThumbnailURL = fmt.Sprintf("https://c1.staticflickr.com/%d/%d/%d_%010x_z.jpg", farm, server, photo, roll.Uint64()>>24)
	p.LandingURL = fmt.Sprintf("https://www.flickr.com/photos/%s/%d", account, photo)
	p.ProfileURL = fmt.Sprintf("https://www.flickr.com/people/%s/", account)
}

// mirrored is the place of a photo's URL in the mirror: a folder for each host.
func mirrored(url string) string {
	return strings.TrimPrefix(url, "https://")
}

// boxesOf makes the boxes that people would have drawn around the things.
func boxesOf(p drawing.Picture, roll *dice.Dice) []Box {
	width, height := float64(p.Image.Rect.Dx()), float64(p.Image.Rect.Dy())
	var boxes []Box
	for i, thing := range p.Things {
		d := roll.Fork("box", i)
		loose := 1.2 // how far off a careful annotator is, pixels
		box := Box{Label: labelOf[thing.Kind], Source: "xclick"}
		box.Flags = [5]int{flag(thing.Occluded), flag(thing.Truncated), flag(thing.Group), flag(thing.Depiction), 0}
		if d.Chance(0.1) { // a box that a model proposed and a person accepted
			loose, box.Source = 3, "activemil"
			if d.Chance(0.2) {
				box.Flags = [5]int{-1, -1, -1, -1, -1}
			}
		}
		edge := func(at int, size float64) float64 {
			return min(max(float64(at)+d.Between(-loose, loose), 0), size) / size
		}
		box.XMin, box.XMax = edge(thing.Box.Min.X, width), edge(thing.Box.Max.X, width)
		box.YMin, box.YMax = edge(thing.Box.Min.Y, height), edge(thing.Box.Max.Y, height)
		boxes = append(boxes, box)
	}
	slices.SortStableFunc(boxes, func(a, b Box) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), cmp.Compare(a.XMin, b.XMin))
	})
	return boxes
}

func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

var boxColumns = []string{"ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
	"IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"}

// appendRecord appends the fields of the box's row.
func (b Box) appendRecord(row []string, image string) []string {
	row = append(row, image, b.Source, b.Label, "1")
	for _, x := range []float64{b.XMin, b.XMax, b.YMin, b.YMax} {
		row = append(row, strconv.FormatFloat(x, 'f', 6, 64))
	}
	for _, f := range b.Flags {
		row = append(row, strconv.Itoa(f))
	}
	return row
}

var imageColumns = []string{"ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL",
	"Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation"}

// appendRecord appends the fields of the photo's row.
func (p Photo) appendRecord(row []string, subset string) []string {
	return append(row, p.ID, subset, p.OriginalURL, p.LandingURL, "https://creativecommons.org/licenses/by/2.0/", p.ProfileURL,
		p.Author, p.Title, strconv.Itoa(p.Size), p.MD5, p.ThumbnailURL, p.Rotation)
}

// authors and their accounts do not exist; their names are of the kinds that tables
// of real ones hold.
var authors = []struct{ name, account string }{
	{"Søren Smørbrød", "sandwich-example-1"},
	{"Łucja Żytnia", "sandwich-example-2"},
	{"パンの山", "sandwich-example-3"},
	{"Crumb, Ada", "sandwich-example-4"},
	{"Noël d&#x27;Amande", "sandwich-example-5"},
	{`Bertha "Bun" Brioche`, "sandwich-example-6"},
	{"Патти Котлетова", "sandwich-example-7"},
	{"rye_and_shine", "sandwich-example-8"},
}

var titles = []string{
	"Lunch, at last",
	"Smørrebrød, burgers & beer",
	"Table for two, eaten by one",
	`The "small" one`,
	"IMG_2041",
	"DSC00719.JPG",
	"Mittagspause – endlich",
	"お昼ごはん",
	"Déjeuner à la maison",
	"Śniadanie, drugie",
	"Обед",
	"Tom &amp; Jerry&#x27;s, Saturday",
	"¿Otra vez pan?",
	"Corner table",
	"Half past twelve",
	"   untitled",
	"",
}
