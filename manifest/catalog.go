package manifest

import "strings"

// Role is what a metadata file is for.
type Role string

// The roles of metadata files.
const (
	Classes   Role = "classes"   // label id and name, one row a label
	Hierarchy Role = "hierarchy" // which labels are below which
	BoxRows   Role = "boxes"     // one row a box
	ImageRows Role = "images"    // one row a photo

	Annotations Role = "annotations" // what is on the photos, as a file or a folder of files
	Photos      Role = "photos"      // the folder of the photos
	URLTable    Role = "table"       // one row a photo or box
)

// SourceFile is one metadata file of a data set.
type SourceFile struct {
	Role         Role
	Subset       string // empty for files of all subsets
	URL          string // a URL, or a path as the manifest has it; of a folder, with a slash at its end, and *.xml where it is one of such files
	Suffix       string // of the files of a folder of text files, such as ".xml"; empty for a folder of photos
	OfficialMD5  string // as published, in hex; empty when unknown
	OfficialSize int64  // bytes; 0 when unknown
}

// The forms of data sets.
const (
	FoldersForm = "folders"
	COCOForm    = "coco"
	VOCForm     = "voc"
	YOLOForm    = "yolo"
	URLsForm    = "urls"
)

// Form names the form that the data set has, and is empty for those of Open Images.
func (s Source) Form() string {
	switch {
	case s.Folders != nil:
		return FoldersForm
	case s.COCO != nil:
		return COCOForm
	case s.VOC != nil:
		return VOCForm
	case s.YOLO != nil:
		return YOLOForm
	case s.URLs != nil:
		return URLsForm
	}
	return ""
}

// Places are where to try each photo, in order: original, thumbnail, cvdf. Photos of other
// data sets than Open Images are at one place, which is called original.
func (d Dataset) Places() []string {
	if d.Source.Form() != "" {
		return []string{"original"}
	}
	return d.Images
}

// Files are the metadata files that a data set is read from, in an order in which the
// small ones come first: for Open Images classes, hierarchy where there is one, then boxes
// and images of each subset in the manifest's order.
func Files(d Dataset) []SourceFile {
	s := d.Source
	if s.Form() != "" {
		return formFiles(s, d.Subsets)
	}
	if official, ok := sources[s.Name]; ok {
		s = official
	}
	files := []SourceFile{sourceFile(Classes, "", s.Classes)}
	if s.Hierarchy != "" {
		files = append(files, sourceFile(Hierarchy, "", s.Hierarchy))
	}
	for _, subset := range d.Subsets {
		files = append(files, sourceFile(BoxRows, subset, s.Boxes), sourceFile(ImageRows, subset, s.Images))
	}
	return files
}

// formFiles are the files of a data set in another form than that of Open Images.
func formFiles(s Source, subsets []string) []SourceFile {
	var files []SourceFile
	for _, subset := range subsets {
		file := func(role Role, place string) { files = append(files, sourceFile(role, subset, place)) }
		folder := func(role Role, place, suffix string) {
			f := sourceFile(role, subset, strings.TrimRight(place, "/")+"/")
			if f.Suffix = suffix; suffix != "" {
				f.URL += "*" + suffix
			}
			files = append(files, f)
		}
		switch s.Form() {
		case FoldersForm:
			folder(Photos, s.Folders.Photos, "")
		case COCOForm:
			file(Annotations, s.COCO.Annotations)
			if s.COCO.Images != "" {
				folder(Photos, s.COCO.Images, "")
			}
		case VOCForm:
			folder(Annotations, s.VOC.Annotations, ".xml")
			folder(Photos, s.VOC.Images, "")
		case YOLOForm:
			file(Classes, s.YOLO.Classes)
			folder(Annotations, s.YOLO.Labels, ".txt")
			folder(Photos, s.YOLO.Images, "")
		case URLsForm:
			file(URLTable, s.URLs.Table)
		}
	}
	return files
}

// Folder returns the folder that a file stands for the content of, with a slash at its end,
// or "" where it is one file.
func (f SourceFile) Folder() string {
	if f.Role == Photos || f.Suffix != "" {
		return strings.TrimSuffix(f.URL, "*"+f.Suffix)
	}
	return ""
}

// subsetPlaceholder stands for the subset's name in the places of boxes and images.
const subsetPlaceholder = "{subset}"

func sourceFile(role Role, subset, place string) SourceFile {
	f := SourceFile{Role: role, Subset: subset, URL: strings.ReplaceAll(place, subsetPlaceholder, subset)}
	if actual, ok := irregular[f.URL]; ok {
		f.URL = actual
	}
	if sum, ok := officialSums[strings.TrimPrefix(f.URL, openImages)]; ok {
		f.OfficialMD5, f.OfficialSize = sum.md5, sum.size
	}
	return f
}

const openImages = "https://storage.googleapis.com/openimages/"

// sources are the data sets known by name. Version 5 to 7 changed neither the
// boxable images nor the hierarchy, so version 7 still reads those of 2018.
var sources = map[string]Source{
	"open-images/v4": {
		Classes:   openImages + "2018_04/class-descriptions-boxable.csv",
		Hierarchy: openImages + "2018_04/bbox_labels_600_hierarchy.json",
		Boxes:     openImages + "2018_04/{subset}/{subset}-annotations-bbox.csv",
		Images:    openImages + "2018_04/{subset}/{subset}-images-with-rotation.csv",
	},
	"open-images/v7": {
		Classes:   openImages + "v5/class-descriptions-boxable.csv",
		Hierarchy: openImages + "2018_04/bbox_labels_600_hierarchy.json",
		Boxes:     openImages + "v5/{subset}-annotations-bbox.csv",
		Images:    openImages + "2018_04/{subset}/{subset}-images-with-rotation.csv",
	},
}

// sourceNames are the names in sources, in the order in which messages list them.
func sourceNames() []string { return []string{"open-images/v4", "open-images/v7"} }

// irregular are the official files that do not follow their neighbours' pattern.
var irregular = map[string]string{
	// The train rows of all nine million images lie beside those with boxes.
	openImages + "2018_04/train/train-images-with-rotation.csv": openImages + "2018_04/train/train-images-boxable-with-rotation.csv",
	openImages + "v5/train-annotations-bbox.csv":                openImages + "v6/oidv6-train-annotations-bbox.csv",
}

// officialSums are the MD5 sums and sizes that the bucket reports for the files.
var officialSums = map[string]struct {
	md5  string
	size int64
}{
	"v5/class-descriptions-boxable.csv":                      {"9846fd22fd2e68b45e3f3810a4c2a32a", 12_011},
	"v6/oidv6-train-annotations-bbox.csv":                    {"3c3e70cfaba5757ea5c2604b19cac3b2", 2_258_447_590},
	"v5/validation-annotations-bbox.csv":                     {"c5e8200df129ea6867e913e8b21fcab9", 25_105_048},
	"v5/test-annotations-bbox.csv":                           {"1cc058a7003b4e73d47642276e9b123b", 77_484_237},
	"2018_04/train/train-images-boxable-with-rotation.csv":   {"a4ac0bcedb5c2df4d1b1230dc6b41b8f", 638_407_721},
	"2018_04/validation/validation-images-with-rotation.csv": {"643a54e43b0bab8acce8817b4a569780", 15_245_485},
	"2018_04/test/test-images-with-rotation.csv":             {"d832feb775b3cb78077bf8ae350adce5", 45_227_339},
}
