// Package manifest is the language of sandwich: the one YAML file that a person
// writes, with every default resolved, and the lock that the tool writes beside it.
//
// Decode reads and checks a manifest and reports every fault it finds with its
// line and column. The package is pure: it opens no network connection and reads
// no clock.
package manifest

import (
	"cmp"
	"strings"
)

// Manifest is a checked manifest (version 1) with every default filled in.
// Relative paths in it are relative to the folder that holds the file.
type Manifest struct {
	Version     int               // always 1
	Name        string            // namespace/name in the registry
	Message     string            // what this revision is about
	Dataset     Dataset           // which boxes and photos
	Crop        Crop              // how a box becomes a picture
	Quality     Quality           // which pictures are good enough
	Split       Split             // which picture is for what
	Model       Model             // what is trained, and how
	Stages      []Command         // the user's own, in the order of the file
	Seed        uint64            // the one root of every random draw; below 2^53
	Code        *Code             // the user's sources; nil when there are none to record
	Environment Environment       // what all of it runs in
	Package     Package           // what goes into the package
	Registry    string            // s3://bucket, file:///path or a folder
	Cache       *Cache            // that a team shares; nil for none
	Mirrors     map[string]string // URL prefix -> URL prefix or folder to read instead; the longest prefix counts
	Limits      []Limit           // what stages may take of the machine, in the order in which they run
	Matrix      []Axis            // what its variants differ in, in the order of the file; empty in a manifest of one build
}

// Dataset says which boxes of which photos make the data set.
type Dataset struct {
	Source  Source
	Subsets []string // of train, validation, test
	All     bool     // every label that the source has, as it is; then there are no Labels
	Labels  []Label
	Images  []string // places to try for each photo of Open Images, in order; see Places
	Licence []string // names or URLs of the licences that a photo may have; none takes all photos
	OptOut  []string // directives of X-Robots-Tag that are heeded: of noai, noimageai, noindex, noimageindex
	Boxes   Boxes
	Limit   int // photos per label, chosen by digest; 0 means all
}

// Source is where the data set is. Just one of these is set: Name, which is
// "open-images/v4" or "open-images/v7"; Classes with Boxes and Images, which are files in
// the forms of Open Images; or one of the fields below them, each a form of its own.
// All are URLs or paths. Where a data set has subsets, the placeholder {subset} stands for
// the name of one, but not in Classes and Hierarchy.
type Source struct {
	Name string

	Classes   string
	Hierarchy string // may be empty when no label asks for descendants
	Boxes     string
	Images    string

	Folders *Folders
	COCO    *COCO
	VOC     *VOC
	YOLO    *YOLO
	URLs    *URLs
}

// Folders is a data set with a folder of photos for each class.
type Folders struct{ Photos string } // the folder that these are in

// COCO is a data set with annotations as COCO's object instances are.
type COCO struct {
	Annotations string // a JSON file
	Images      string // the folder of the photos; when empty, they are at their coco_url
}

// VOC is a data set with annotations as Pascal VOC's are.
type VOC struct {
	Annotations string // a folder of XML files
	Images      string // the folder of the photos
}

// YOLO is a data set with annotations as YOLO's are.
type YOLO struct {
	Labels  string // a folder of text files
	Images  string // the folder of the photos
	Classes string // the names: one a line, or a YAML file with names
}

// URLs is a table of photos that are on the web.
type URLs struct {
	Table string // a CSV or Parquet file
	URL   string // the column of the URLs
	Label string // the column of the labels
}

// Label asks for the boxes of one label of the data set.
type Label struct {
	Name        string   // a label's name or id, as written
	As          string   // the class it becomes; empty: the label's own name in the class list
	Descendants bool     // also the labels below it in the hierarchy
	Except      []string // names or ids of labels below it to leave out, with all below them
}

// Boxes are the rules that a box must pass. What the zero value of one stands for is any box.
type Boxes struct {
	Exclude   []string // of occluded, truncated, group_of, depiction, inside
	MinSide   int      // pixels of the shorter side, measured on the photo as found
	MinArea   float64  // fraction of the photo that the box covers
	MaxArea   float64  // as above
	MaxAspect float64  // longer side over shorter side, in pixels
	Margin    float64  // between the box and each edge of the photo, as a fraction of the photo's side
}

// Crop says how a box is cut from its photo.
type Crop struct {
	Pad   float64 // added on each side, as a fraction of the box's side
	Shape string  // keep, stretch, square, letterbox
	Size  int     // pixels of a side (of the longer side with keep); 0 keeps the pixels

	// TruncatedFiles is what becomes of a photo whose file ends too early: drop, or keep
	// what there is of it. Not to be mixed up with boxes that are truncated, whose object
	// reaches beyond the photo.
	TruncatedFiles string
}

// Quality are the rules that the picture of a crop must pass, after it is cut and before it
// is used for anything. 0 lets any picture pass.
type Quality struct {
	MinSharpness float64 // variance of the Laplacian of the luminance, at 64 pixels a side at most
	MinContrast  float64 // standard deviation of the luminance, of 255
	MinColour    float64 // mean distance of the chroma from grey, of 255
}

// Split says how photos are divided. The three fractions add up to 1.
type Split struct {
	Train, Validation, Test float64
	By                      string // image
}

// Model says what is trained and how.
type Model struct {
	Layers        []Layer        `json:"layers"` // resolved: the name "article" is expanded by ArticleLayers
	LayersName    string         `json:"-"`      // the name as written, empty when layers were listed
	Size          int            `json:"-"`      // see Manifest.InputSide
	Augment       Augment        `json:"augment"`
	Optimizer     Optimizer      `json:"optimizer"`
	Schedule      Schedule       `json:"schedule"`
	ClassWeights  ClassWeights   `json:"class_weights"`
	Smoothing     float64        `json:"label_smoothing"` // how much of each label is spread over all
	Batch         int            `json:"batch"`
	Epochs        int            `json:"epochs"`
	EarlyStopping *EarlyStopping `json:"early_stopping,omitempty"` // nil trains every epoch

	// RepeatArticle trains and measures as the article did, on the same pictures. The other
	// settings are the article's then.
	RepeatArticle bool `json:"repeat_article,omitempty"`
}

// articleModel is what the article trained: its notebook build-model.ipynb.
func articleModel() Model {
	m := defaults().Model
	m.RepeatArticle = true
	m.Size = articleSide
	m.Augment = Augment{Rotation: 40, Shift: 0.2, Shear: 0.2, Zoom: 0.2, Flip: "horizontal"}
	m.EarlyStopping = &EarlyStopping{Monitor: valLoss, Patience: 4}
	return m
}

// articleSide is the side of the pictures that the article's network reads, in pixels.
const articleSide = 128

// InputSide returns the side, in pixels, of the square pictures that the model reads:
// what model.size says, or else the size of the crops, or else the article's.
func (m *Manifest) InputSide() int {
	return cmp.Or(m.Model.Size, m.Crop.Size, articleSide)
}

// Augment bounds the random changes made to training pictures, in Keras' units where Keras
// has them. They are made in the order of the fields.
type Augment struct {
	Rotation float64 `json:"rotation"` // degrees, drawn from ±Rotation
	Shift    float64 `json:"shift"`    // fraction of the side, drawn from ±Shift for each axis
	Shear    float64 `json:"shear"`    // degrees, drawn from ±Shear
	Zoom     float64 `json:"zoom"`     // factor drawn from 1±Zoom for each axis
	Flip     string  `json:"flip"`     // none, horizontal, vertical or both

	Crop       int     `json:"crop"`       // pixels laid around the picture, reflected, before one of its size is cut out anywhere
	Brightness float64 `json:"brightness"` // factor drawn from 1±Brightness
	Contrast   float64 `json:"contrast"`   // factor drawn from 1±Contrast, about the mean grey
	Saturation float64 `json:"saturation"` // factor drawn from 1±Saturation, about each pixel's grey
	Hue        float64 `json:"hue"`        // fraction of the circle of colours, drawn from ±Hue
	Cutout     float64 `json:"cutout"`     // side of a square of mean grey, as a fraction of the picture's
	Mixup      float64 `json:"mixup"`      // both parameters of the beta distribution that shares are drawn from; 0 for none
}

// Optimizer names the update rule and its settings. Those of other rules have no effect,
// and a manifest cannot set them.
type Optimizer struct {
	Name         string  `json:"name"` // sgd, rmsprop, adam or adamw
	LearningRate float64 `json:"learning_rate"`
	Momentum     float64 `json:"momentum"`     // sgd: how much of the last step is taken again
	Nesterov     bool    `json:"nesterov"`     // sgd: the momentum is taken before the gradient
	Rho          float64 `json:"rho"`          // rmsprop: decay of the squared-gradient average
	Beta1        float64 `json:"beta1"`        // adam, adamw: decay of the gradient average
	Beta2        float64 `json:"beta2"`        // adam, adamw: decay of the squared-gradient average
	Epsilon      float64 `json:"epsilon"`      // rmsprop, adam, adamw: added to the denominator
	WeightDecay  float64 `json:"weight_decay"` // of kernels; with adamw apart from the gradient
	ClipNorm     float64 `json:"clip_norm"`    // the longest that all gradients together may be; 0 for any
}

// Schedule changes the learning rate. At most one of the fields is set; none keeps it.
type Schedule struct {
	Step    *StepSchedule    `json:"step,omitempty"`
	Cosine  *CosineSchedule  `json:"cosine,omitempty"`
	Plateau *PlateauSchedule `json:"plateau,omitempty"`
}

// StepSchedule multiplies the rate by Factor after each Every epochs.
type StepSchedule struct {
	Every  int     `json:"every"`
	Factor float64 `json:"factor"`
}

// CosineSchedule raises the rate step by step to the whole over WarmUp epochs, and then
// lowers it along half a cosine to Floor times the whole at the last step (Loshchilov and
// Hutter, "SGDR", ICLR 2017).
type CosineSchedule struct {
	WarmUp float64 `json:"warm_up"` // epochs
	Floor  float64 `json:"floor"`   // fraction of the learning rate
}

// PlateauSchedule multiplies the rate by Factor when Monitor has not got better for
// Patience epochs, as Keras' ReduceLROnPlateau does.
type PlateauSchedule struct {
	Monitor  string  `json:"monitor"` // val_loss or val_accuracy
	Factor   float64 `json:"factor"`
	Patience int     `json:"patience"`
	MinDelta float64 `json:"min_delta"`
	Floor    float64 `json:"floor"` // fraction of the learning rate below which it does not go
}

// ClassWeights say how much a picture counts in the loss, by its class.
type ClassWeights struct {
	Name    string             `json:"name"`              // none, balanced, or empty where Weights are given
	Weights map[string]float64 `json:"weights,omitempty"` // of classes; others count 1
}

// EarlyStopping ends training when Monitor has not improved for Patience epochs.
type EarlyStopping struct {
	Monitor     string  `json:"monitor"` // val_loss or val_accuracy
	Patience    int     `json:"patience"`
	MinDelta    float64 `json:"min_delta"`
	RestoreBest bool    `json:"restore_best"`
}

// Code is where the user's own sources are.
type Code struct {
	Git string // a folder in a git work tree
}

// Cache is a cache that several machines share.
type Cache struct {
	Remote string // s3://bucket/prefix, file:///path or a folder
	Mode   string // ReadWrite or ReadOnly
}

// The modes of a shared cache.
const (
	ReadWrite = "read-write"
	ReadOnly  = "read-only" // what this machine builds is not put there
)

// Environment is what the stages run in: an image, if there is one, and this machine otherwise. Stages that are not the
// user's own are this binary, which needs nothing of either.
type Environment struct {
	Native bool   // the user's own stages are programs of this machine
	Image  string // repository:tag, repository@digest or a path; empty when there is none
	// Dockerfile is what an image is built of once: a path below the manifest's folder, whose own
	// folder is the context; empty when there is none.
	Dockerfile string
	Pip        string // a file of requirements, whose wheels the user's own stages import; empty for none
	Conda      string // an environment.yml, whose packages the user's own stages run with; empty for none
}

// InImage says that stages run in an image.
func (e Environment) InImage() bool { return e.Image != "" || e.Dockerfile != "" }

// ImagePath returns the path of an image that is on this machine, a layout folder or a tarball,
// as the manifest has it; "" when the image is in a registry, or there is none.
func (e Environment) ImagePath() string {
	if strings.HasPrefix(e.Image, "/") || strings.HasPrefix(e.Image, "./") || strings.HasPrefix(e.Image, "../") {
		return e.Image
	}
	return ""
}

// Package says what goes into the package besides what always does.
type Package struct {
	Originals bool // the photos as downloaded, so that a rebuild does not depend on links
	Image     bool // the environment's, so that a rebuild needs no registry
	Wheels    bool // those of the environment, so that a rebuild needs no index
	Conda     bool // the environment's packages of conda's, so that a rebuild needs no channel
}
