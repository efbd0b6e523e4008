package synthetic

import (
	"bytes"
	"crypto/md5" // as the official rows have it; it protects nothing
	"encoding/base64"
	"fmt"
	"hash"
	"image/jpeg"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sandwich-build/sandwich/internal/dice"
	"github.com/sandwich-build/sandwich/internal/drawing"
)

// What the tables of Open Images V4 hold, from its site and its files: 14,610,229 boxes on
// 1,743,042 photos of the subset train, of 600 labels.
const (
	OfficialPhotos = 1_743_042
	OfficialBoxes  = 14_610_229

	officialLabels = 600
	labelsPerPhoto = 3.72  // different labels of a photo, before those drawn twice are dropped
	boxesPerLabel  = 2.395 // boxes of such a label

	activeMIL  = 1_559_697. / OfficialBoxes // boxes that a model proposed
	unanswered = 21_871. / 1_559_697        // those of them that say -1 to all flags
)

// officialFlags are the shares of boxes that are occluded, truncated, a group, a depiction,
// seen from inside.
var officialFlags = [5]float64{0.6606, 0.2509, 0.0599, 0.0545, 0.0024}

// officialClasses are 600 labels: those of the drawn data sets, with their names, and others
// that do not exist.
var officialClasses = sync.OnceValue(func() []class {
	list := slices.Clone(classes)
	for _, thing := range things {
		for _, of := range materials {
			if len(list) < officialLabels {
				// Ids are as long as real ones, and collide with none: "synt" is in no Freebase id.
				id := fmt.Sprintf("/m/0synt%s", strconv.FormatInt(int64(len(list)*37), 36))
				list = append(list, class{id, of + " " + thing})
			}
		}
	}
	return list
})

var (
	things = []string{"kettle", "lantern", "ladle", "basket", "bench", "whistle", "anvil", "barrel", "sledge", "loom",
		"bellows", "trowel", "sundial", "abacus", "thimble", "gong", "easel", "oar", "stile", "spindle",
		"weathervane", "toast rack", "hat stand", "inkwell", "milk churn"}
	materials = []string{"Copper", "Wooden", "Tin", "Glass", "Wicker", "Iron", "Marble", "Bamboo", "Leather", "Brass", "Clay",
		"Felt", "Paper", "Silver", "Slate", "Cork", "Oak", "Steel", "Wax", "Rope", "Pewter", "Linen", "Straw", "Stone"}
)

// officialHierarchy has the drawn data sets' labels as they are there, and of the others one
// label of each thing above the rest of its kind. As upstream, many labels have two parents,
// some are parts of others, and the tree is five levels deep.
func officialHierarchy() node {
	root := drawnHierarchy()
	list := officialClasses()[len(classes):]
	for from := 0; from < len(list); from += len(materials) {
		kinds := list[from:min(from+len(materials), len(list))]
		above := node{LabelName: kinds[0].id}
		for i, c := range kinds[1:] {
			below := leaf(c.id)
			if i%8 == 3 && i+2 < len(kinds) {
				below.Subcategory = []node{leaf(kinds[i+2].id)} // which stands beside it, too
			}
			if i%12 == 5 {
				below.Part = []node{leaf(list[(from+len(materials)+i)%len(list)].id)}
			}
			above.Subcategory = append(above.Subcategory, below)
		}
		root.Subcategory = append(root.Subcategory, above)
	}
	return root
}

// labelWeights are running sums of how often each label occurs: as the inverse square of its
// rank and ten, so that the first has 9 % of the boxes (as Clothing and Man do) and the last
// some hundred. They are integers: sums of floats differ between architectures.
var labelWeights = sync.OnceValue(func() []int {
	sums := make([]int, officialLabels)
	sum := 0
	for i := range sums {
		sum += 1_000_000_000_000 / ((i + 10) * (i + 10))
		sums[i] = sum
	}
	return sums
})

// drawLabel draws a label by how often it occurs. Ranks are mixed over the list.
func drawLabel(roll *dice.Dice) string {
	sums := labelWeights()
	rank, _ := slices.BinarySearch(sums, 1+roll.Below(sums[len(sums)-1]))
	return officialClasses()[rank*271%officialLabels].id
}

// geometric draws from 1, 2, …, with a mean.
func geometric(roll *dice.Dice, mean float64) int {
	n := 1
	for n < 100 && !roll.Chance(1/mean) {
		n++
	}
	return n
}

// photoSpread is how far apart the numbers are that the photos have in their URLs.
const photoSpread = 4001

const firstPhoto = 2_000_000_000

// official makes a photo of an official data set.
func (d Dataset) official(number int, roll *dice.Dice, fault Fault) Photo {
	p := Photo{ID: d.id(number, roll), Rotation: "0.0", Boxes: officialBoxes(roll.Fork("boxes", 0))}
	row := roll.Fork("row", 0)
	by := dice.Pick(row, authors)
	p.Author, p.Title = by.name, dice.Pick(row, titles)
	if p.Title != "" && row.Chance(0.5) {
		p.Title += fmt.Sprintf(" %d", row.Below(1000))
	}
	p.place(row.Int(1, 9), row.Int(1, 9999), firstPhoto+number*photoSpread+row.Below(photoSpread), by.account, row)
	switch {
	case fault == Dead:
		p.Rotation = ""
	case fault == TurnedLeft || row.Chance(0.01):
		p.Rotation = "90.0"
	case fault == TurnedRight:
		p.Rotation = "270.0"
	}
	p.fromStock(dice.Pick(row, stock()), fault)
	return p
}

func officialBoxes(roll *dice.Dice) []Box {
	var boxes []Box
	seen := map[string]bool{}
	for range geometric(roll, labelsPerPhoto) {
		label := drawLabel(roll)
		if seen[label] {
			continue
		}
		seen[label] = true
		for range geometric(roll, boxesPerLabel) {
			box := Box{Label: label, Source: "xclick"}
			for i, share := range officialFlags {
				box.Flags[i] = flag(roll.Chance(share))
			}
			if roll.Chance(activeMIL) {
				box.Source = "activemil"
				if roll.Chance(unanswered) {
					box.Flags = [5]int{-1, -1, -1, -1, -1}
				}
			}
			box.XMin, box.XMax = side(roll)
			box.YMin, box.YMax = side(roll)
			boxes = append(boxes, box)
		}
	}
	slices.SortStableFunc(boxes, func(a, b Box) int { return strings.Compare(a.Label, b.Label) })
	return boxes
}

// side draws one side of a box. One in six goes over the whole photo at one end, as in the
// official tables.
func side(roll *dice.Dice) (from, to float64) {
	from = roll.Between(0, 0.95)
	to = roll.Between(from+0.01, 1)
	switch roll.Below(6) {
	case 0:
		from = 0
	case 1:
		to = 0.999375
	}
	return from, to
}

// picture is a JPEG file without its end, and the MD5 sum so far.
type picture struct {
	data []byte
	sum  hash.Cloner
}

// stock are the drawings that the photos of official data sets show.
var stock = sync.OnceValue(func() []picture {
	const drawings = 16
	var pictures []picture
	for i := range drawings {
		var b bytes.Buffer
		drawn := drawing.Draw(dice.New(0).Fork("stock", i))
		if err := jpeg.Encode(&b, drawn.Image, &jpeg.Options{Quality: 66}); err != nil {
			panic(err) // a bytes.Buffer never fails, and a drawing is of a size that JPEG has
		}
		p := picture{data: b.Bytes()[:b.Len()-len(endOfImage)]}
		p.sum = md5.New().(hash.Cloner)
		p.sum.Write(p.data) // a hash never fails
		pictures = append(pictures, p)
	}
	return pictures
})

const endOfImage = "\xff\xd9"

// fromStock makes the photo's files of a picture and a comment with its id.
func (p *Photo) fromStock(from picture, fault Fault) {
	comment := fmt.Sprintf("\xff\xfe\x00%c%s", 2+len(p.ID), p.ID) + endOfImage
	p.Size = len(from.data) + len(comment)
	sum, err := from.sum.Clone()
	if err != nil {
		panic(err) // MD5 in software can be cloned
	}
	whole := func() []byte { return append(slices.Clip(from.data), comment...) }
	if fault == Broken {
		p.Original = whole()[:p.Size*2/5]
		p.Size = len(p.Original)
		broken := md5.Sum(p.Original)
		p.MD5 = base64.StdEncoding.EncodeToString(broken[:])
		return
	}
	sum.Write([]byte(comment))
	p.MD5 = base64.StdEncoding.EncodeToString(sum.Sum(nil))
	switch fault {
	case Dead:
	case ThumbnailOnly:
		p.Thumbnail = whole()
	default:
		p.Original = whole()
	}
}

// Find returns the file at a place of the mirror, host and path of a URL, of an official
// data set. So its photos need not be written anywhere to be served.
func (d Dataset) Find(place string) (data []byte, ok bool) {
	digits, _, found := strings.Cut(path.Base(place), "_")
	id, err := strconv.Atoi(digits)
	if !found || err != nil || d.Shape != Official || id < firstPhoto || (id-firstPhoto)/photoSpread >= d.Photos {
		return nil, false
	}
	p, err := d.Photo((id - firstPhoto) / photoSpread)
	if err != nil {
		return nil, false
	}
	switch place {
	case mirrored(p.OriginalURL):
		return p.Original, p.Original != nil
	case mirrored(p.ThumbnailURL):
		return p.Thumbnail, p.Thumbnail != nil
	}
	return nil, false
}

// Hosts returns the hosts of a data set's URLs.
func Hosts() []string {
	hosts := []string{"storage.googleapis.com", "c1.staticflickr.com"}
	for farm := range 9 {
		hosts = append(hosts, fmt.Sprintf("farm%d.staticflickr.com", farm+1))
	}
	return hosts
}

// Shares returns what is wrong with each photo when a share of all of them, from 0 to 1, has
// each fault. Shares are of one whole: together they may not be more than 1.
func Shares(seed uint64, shares map[Fault]float64) func(photo int) Fault {
	return func(photo int) Fault {
		at := dice.New(seed).Fork("fault", photo).Float()
		for fault := Dead; fault <= TurnedRight; fault++ {
			if at -= shares[fault]; at < 0 {
				return fault
			}
		}
		return Sound
	}
}
