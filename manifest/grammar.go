package manifest

import (
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// The words of the language.
const (
	articleLayers = "article"
	sliderLayers  = "slider"
	repeatArticle = "repeat_article"
	average       = "average"
	maximum       = "max"
	valLoss       = "val_loss"
	valAccuracy   = "val_accuracy"
	balanced      = "balanced"
	constant      = "constant"
	sgd           = "sgd"
	rmsprop       = "rmsprop"
	adam          = "adam"
	adamW         = "adamw"
)

// Bounds that keep a mistyped number from taking the machine's memory. They are far
// above what a sensible build asks for; check.go bounds the products of them.
const (
	maxPixels  = 2048 // a side of a crop
	maxLabels  = 601  // every class of Open Images
	maxLayers  = 64
	maxKernel  = 63
	maxFilters = 4096
	maxUnits   = 65536
	maxBatch   = 4096
	maxEpochs  = 100_000
	maxText    = 4096 // characters of a path, a URL or the message
)

// Forms of text. They are the schema's patterns too, so they keep to what Go's and
// JavaScript's regular expressions read alike.
var (
	packageName = lazyregexp.New(`^[A-Za-z0-9_-]+/[A-Za-z0-9_-]+$`)
	anyLines    = lazyregexp.New(`^[^\x00-\x08\x0B-\x1F\x7F]*$`)
	oneLine     = lazyregexp.New(`^[^\x00-\x1F\x7F]+$`)
	// A class names a folder of the package, so it may not hide or climb.
	className = lazyregexp.New(`^[^\x00-\x1F\x7F/\\. ][^\x00-\x1F\x7F/\\]*$`)
	// A location is a path, or a URL that can be read without credentials.
	location = lazyregexp.New(`^((https?|s3)://[^\x00-\x20\x7F]+|[^\x00-\x1F\x7F:]+)$`)
	// A folder of photos is on this machine or in a bucket.
	folderPlace = lazyregexp.New(`^(s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x20\x7F]*)?|[^\x00-\x1F\x7F:]+)$`)
	// A registry is a bucket, a file URL or a path.
	registryPlace = lazyregexp.New(`^(s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x20\x7F]*)?|file:///[^\x00-\x1F\x7F]+|[^\x00-\x1F\x7F:]+)$`)
	// An image is one of a registry, pinned or to be, or a path, which begins like one.
	imagePlace = lazyregexp.New(`^(\.{0,2}/[^\x00-\x1F\x7F:]+|[A-Za-z0-9][A-Za-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64}))$`)
	folder     = lazyregexp.New(`^[^\x00-\x1F\x7F:]+$`)
	urlPrefix  = lazyregexp.New(`^(https?|s3)://[^\x00-\x20\x7F]+$`)
)

// DefaultRegistry is where a package is pushed that the manifest names no place for.
const DefaultRegistry = "registry"

// defaults is a manifest before anything of a file is decoded. Where the article
// has a number, the default is the article's.
func defaults() *Manifest {
	return &Manifest{
		Dataset: Dataset{
			Subsets: []string{"train"},
			Images:  []string{"original", "thumbnail", "cvdf"},
		},
		Crop:  Crop{Shape: "stretch", Size: articleSide, TruncatedFiles: "drop"},
		Split: Split{Train: 0.8, Validation: 0.1, Test: 0.1, By: "image"},
		Model: Model{
			LayersName:   articleLayers,
			Layers:       ArticleLayers(),
			Augment:      Augment{Flip: none},
			Optimizer:    Optimizer{Name: rmsprop, LearningRate: 0.0005, Rho: 0.9, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7},
			ClassWeights: ClassWeights{Name: none},
			Batch:        16,
			Epochs:       50,
		},
		Environment: Environment{Native: true},
		Package:     Package{Originals: true, Image: true, Wheels: true, Conda: true},
		Registry:    DefaultRegistry,
	}
}

// ArticleLayers is the article's network, without the classification layer, which
// follows from the labels: three convolutions, one hidden layer, 831,585 parameters
// with two labels at 128 pixels.
func ArticleLayers() []Layer {
	layer := func(filters int) Layer {
		c := freshConv()
		c.Filters = filters
		return Layer{Conv: &c}
	}
	pool := func() Layer { return Layer{MaxPool: &Pool{Size: 2, Padding: "valid"}} }
	return []Layer{
		layer(32), pool(), layer(32), pool(), layer(64), pool(),
		{Flatten: &Flatten{}},
		{Dense: &Dense{Units: 64, Activation: "relu"}},
		{Dropout: &Dropout{Rate: 0.5}},
	}
}

// SliderLayers is a small modern network, for pictures of at least eight pixels: batch
// normalization, a residual block and a global maximum, a hundred thousand parameters.
// Pooling comes before the normalization, which then has a fourth of the values to work on.
func SliderLayers() []Layer {
	conv := func(filters int) Layer {
		return Layer{Conv: &Conv{
			Filters: filters, Kernel: 3, Stride: 1, Padding: "same", Dilation: 1, Groups: 1, Activation: none,
		}}
	}
	norm := func() Layer { b := freshBatchNorm(); return Layer{BatchNorm: &b} }
	relu := func() Layer { return Layer{Activation: &Activation{Name: "relu"}} }
	halve := func(filters int) []Layer {
		return []Layer{conv(filters), {MaxPool: &Pool{Size: 2, Padding: "valid"}}, norm(), relu()}
	}
	block := Layer{Residual: &Residual{
		Layers:     []Layer{conv(48), norm(), relu(), conv(48), norm()},
		Activation: "relu",
	}}
	return slices.Concat(halve(32), halve(48), []Layer{block}, halve(96), []Layer{{GlobalPool: &GlobalPool{Of: maximum}}})
}

// namedLayers are the networks that have a name.
var namedLayers = map[string]func() []Layer{articleLayers: ArticleLayers, sliderLayers: SliderLayers}

func freshConv() Conv {
	return Conv{Kernel: 3, Stride: 1, Padding: "valid", Dilation: 1, Groups: 1, Bias: true, Activation: "relu"}
}

func freshDepthwise() Depthwise {
	return Depthwise{Kernel: 3, Stride: 1, Padding: "same", Dilation: 1, Bias: true, Activation: "relu"}
}

func freshBatchNorm() BatchNorm { return BatchNorm{Momentum: 0.9, Epsilon: 1e-5} }

// grammar is the whole language, bound to m. The order of the fields is the
// canonical one. Everything that knows the language is made from it: the decoder,
// the defaults, Render, Schema and the reference in README.md.
func grammar(m *Manifest) mapping {
	return mapping{fields: []field{
		{key: "version", required: true, value: integer[int]{&m.Version, 1, 1},
			doc: "The version of this language."},
		{key: "name", required: true, value: text{to: &m.Name, want: "a package name, namespace/name, of letters, digits, _ and -", form: packageName, max: 128},
			doc: "The package's name in the registry: namespace/name."},
		{key: "message", value: text{to: &m.Message, want: "a message", form: anyLines, max: maxText},
			doc: "What this revision is about, for the log."},
		{key: "dataset", required: true, value: datasetGrammar(&m.Dataset),
			doc: "Which boxes of which photos make the data set."},
		{key: "crop", value: cropGrammar(&m.Crop),
			doc: "How a box is cut from its photo."},
		{key: "quality", value: qualityGrammar(&m.Quality),
			doc: "Rules that the picture of a crop must pass. 0 lets any pass."},
		{key: "split", value: splitGrammar(&m.Split),
			doc: "How the photos are divided into three sets. The fractions add up to 1."},
		{key: "model", value: modelGrammar(&m.Model),
			doc: "What is trained, and how."},
		{key: "stages", value: commands{&m.Stages},
			doc: "Stages of your own. One named " + strings.Join(Replaceable(), ", ") + " takes that stage's place."},
		{key: "seed", value: integer[uint64]{&m.Seed, 0, maxExactInteger},
			doc: "The one root of every random draw."},
		{key: "code", value: optional(pointer[Code]{to: &m.Code, value: codeGrammar}),
			doc: "Your own sources, recorded in the package."},
		{key: "environment", value: environmentGrammar(&m.Environment),
			doc: "What all of it runs in."},
		{key: "package", value: packageGrammar(&m.Package),
			doc: "What goes into the package besides what always does."},
		{key: "registry", value: text{to: &m.Registry, want: "s3://bucket, file:///path or a folder", form: registryPlace, max: maxText},
			doc: "Where the package is pushed: s3://bucket, file:///path or a folder."},
		{key: "cache", value: optional(pointer[Cache]{to: &m.Cache, fresh: Cache{Mode: ReadWrite}, value: cacheGrammar}),
			doc: "A cache that a team shares. What this machine does not have is looked for there."},
		{key: "mirrors", value: textMap{to: &m.Mirrors, max: 64,
			key:   text{want: "an http, https or s3 URL prefix", form: urlPrefix, max: maxText},
			value: text{want: "an http, https or s3 URL prefix or a folder", form: location, max: maxText}},
			doc: "URL prefixes, and the URL prefix or folder to read instead, of images too: https://docker.io/library. The longest prefix counts."},
		{key: "limits", value: limits{&m.Limits},
			doc: "What stages may take of the machine. It decides how a build runs, and nothing of what it makes."},
		{key: matrixKey, value: matrix{&m.Matrix},
			doc: "Settings and the values to build them with: one build for each combination."},
	}}
}

func datasetGrammar(d *Dataset) mapping {
	return mapping{fields: []field{
		{key: "source", required: true, value: shorthand{
			short:   choice{&d.Source.Name, sourceNames()},
			full:    keyed{one: formGrammar(&d.Source), other: sourceGrammar(&d.Source), isOne: func() bool { return d.Source.Form() != "" }},
			isShort: func() bool { return d.Source.Name != "" },
		}, doc: "The data set: Open Images by name, four files of your own in its forms, or photos and labels in another form."},
		{key: "subsets", value: list[string]{to: &d.Subsets, of: "subsets", min: 1, max: 3, same: equal,
			item: func(s *string) value { return choice{s, []string{"train", "validation", "test"}} }},
			doc: "Which of the data set's subsets to draw from. They are not the split: that is your own."},
		{key: "labels", required: true, value: orAll{list[Label]{to: &d.Labels, of: "labels", min: 2, max: maxLabels, item: labelGrammar}, &d.All},
			doc: "The labels to tell apart, by name or id. all takes those that the data set has."},
		{key: "images", value: rendered{list[string]{to: &d.Images, of: "places", min: 1, max: 3, same: equal,
			item: func(s *string) value { return choice{s, []string{"original", "thumbnail", "cvdf"}} }},
			func() bool { return d.Source.Form() == "" }},
			doc: "Where to try each photo of Open Images, in this order."},
		{key: "licence", value: list[string]{to: &d.Licence, of: "licences", max: 64, same: equal,
			item: func(s *string) value {
				return text{to: s, want: "the name or URL of a licence", form: oneLine, max: 256}
			}},
			doc: "The licences that a photo may have, such as CC BY, CC-BY-SA-2.0 or a URL; one without a version covers all. Without any, all photos are taken."},
		{key: "opt_out", value: list[string]{to: &d.OptOut, of: "directives", max: 4, same: equal,
			item: func(s *string) value { return choice{s, []string{"noai", "noimageai", "noindex", "noimageindex"}} }},
			doc: "Photos to leave out when a server's X-Robots-Tag has one of these for everybody or for sandwich, at the time when they are pinned."},
		{key: "boxes", value: boxesGrammar(&d.Boxes),
			doc: "Rules that a box must pass."},
		{key: "limit", value: optionalInteger(integer[int]{&d.Limit, 1, 10_000_000}),
			doc: "Photos per label, at most. They are chosen by digest, so that raising it only adds."},
	}}
}

func sourceGrammar(s *Source) mapping {
	file := func(to *string) text {
		return text{to: to, want: "a path or URL", form: location, max: maxText}
	}
	hierarchy := file(&s.Hierarchy)
	hierarchy.optional = true
	return mapping{fields: []field{
		{key: "classes", required: true, value: file(&s.Classes),
			doc: "The class list, a CSV of label id and name: a path or URL."},
		{key: "hierarchy", value: hierarchy,
			doc: "The label hierarchy, JSON. Needed by labels with descendants."},
		{key: "boxes", required: true, value: file(&s.Boxes),
			doc: "The boxes, a CSV in any official form. {subset} stands for the subset's name."},
		{key: "images", required: true, value: file(&s.Images),
			doc: "The image rows, a CSV in any official form. {subset} stands for the subset's name."},
	}}
}

// formGrammar are the forms of data sets besides that of Open Images.
func formGrammar(s *Source) oneOf {
	const table, photos = "a path or URL", "a folder, or s3://bucket/prefix"
	place := func(to *string, want string) text { return text{to: to, want: want, form: location, max: maxText} }
	folder := func(to *string) text { return text{to: to, want: photos, form: folderPlace, max: maxText} }
	column := func(to *string) text { return text{to: to, want: "the name of a column", form: oneLine, max: 128} }
	return oneOf{what: "a source", keys: []field{
		{key: "folders", value: pointer[Folders]{to: &s.Folders, value: func(f *Folders) value { return folder(&f.Photos) }},
			doc: "A folder with a folder of photos for each class. {subset} stands for the subset's name, here and below."},
		{key: "coco", value: pointer[COCO]{to: &s.COCO, value: func(c *COCO) value {
			images := folder(&c.Images)
			images.optional = true
			return mapping{fields: []field{
				{key: "annotations", required: true, value: place(&c.Annotations, table),
					doc: "A JSON file in the form of COCO's object instances."},
				{key: "images", value: images,
					doc: "The folder that the file_name of each photo is in. Without it, photos are fetched from their coco_url."},
			}}
		}}, doc: "Photos with boxes, as COCO has them."},
		{key: "voc", value: pointer[VOC]{to: &s.VOC, value: func(v *VOC) value {
			return mapping{fields: []field{
				{key: "annotations", required: true, value: folder(&v.Annotations),
					doc: "The folder of the XML files, one a photo."},
				{key: "images", required: true, value: folder(&v.Images),
					doc: "The folder of the photos."},
			}}
		}}, doc: "Photos with boxes, as Pascal VOC has them."},
		{key: "yolo", value: pointer[YOLO]{to: &s.YOLO, value: func(y *YOLO) value {
			return mapping{fields: []field{
				{key: "classes", required: true, value: place(&y.Classes, table),
					doc: "The names of the classes: one a line, or a YAML file with names."},
				{key: "labels", required: true, value: folder(&y.Labels),
					doc: "The folder of the text files, one a photo, with a line for each box."},
				{key: "images", required: true, value: folder(&y.Images),
					doc: "The folder of the photos."},
			}}
		}}, doc: "Photos with boxes, as YOLO has them."},
		{key: "urls", value: pointer[URLs]{to: &s.URLs, fresh: URLs{URL: "url", Label: "label"}, value: func(u *URLs) value {
			return mapping{fields: []field{
				{key: "table", required: true, value: place(&u.Table, table),
					doc: "A CSV or Parquet file with a row for each photo, or for each box."},
				{key: "url", value: column(&u.URL),
					doc: "The column with the URLs of the photos."},
				{key: "label", value: column(&u.Label),
					doc: "The column with the labels."},
			}}
		}}, doc: "A table of photos that are on the web."},
	}}
}

func labelGrammar(l *Label) value {
	label := func(to *string) text {
		return text{to: to, want: "a label's name or id", form: oneLine, max: 128}
	}
	as := text{to: &l.As, want: `the name of a class (no slash, no dot or space in front)`, form: className, max: 128, optional: true}
	return shorthand{
		short:   label(&l.Name),
		isShort: func() bool { return l.As == "" && !l.Descendants && len(l.Except) == 0 },
		full: mapping{fields: []field{
			{key: "name", required: true, value: label(&l.Name),
				doc: "The label's name or id. Case does not matter where the name stays unique."},
			{key: "as", value: as,
				doc: "The class that its boxes become: the label's own name unless given. Labels with one class are merged."},
			{key: "descendants", value: boolean{&l.Descendants},
				doc: "Also the labels below it in the hierarchy. A box belongs to the most specific label asked for."},
			{key: "except", value: list[string]{to: &l.Except, of: "labels", max: maxLabels, same: equal,
				item: func(s *string) value { return label(s) }},
				doc: "Descendants to leave out, with all below them."},
		}},
	}
}

func boxesGrammar(b *Boxes) mapping {
	flags := []string{"occluded", "truncated", "group_of", "depiction", "inside"}
	return mapping{fields: []field{
		{key: "exclude", value: list[string]{to: &b.Exclude, of: "flags", max: len(flags), same: equal,
			item: func(s *string) value { return choice{s, flags} }},
			doc: "Leave out boxes with any of these flags."},
		{key: "min_side", value: integer[int]{&b.MinSide, 0, 10_000},
			doc: "Pixels that the shorter side must have, measured on the photo as found."},
		{key: "min_area", value: number{to: &b.MinArea, max: 1, openMax: true},
			doc: "How much of the photo the box must cover, as a fraction of its area."},
		{key: "max_area", value: optionalNumber(number{to: &b.MaxArea, max: 1, openMin: true}),
			doc: "How much of the photo the box may cover. none lets it cover all."},
		{key: "max_aspect", value: optionalNumber(number{to: &b.MaxAspect, min: 1, max: 1000}),
			doc: "How many times longer than the shorter side the longer one may be, in pixels."},
		{key: "margin", value: number{to: &b.Margin, max: 0.5, openMax: true},
			doc: "How far the box must stay away from each edge of the photo, as a fraction of the photo's side."},
	}}
}

func qualityGrammar(q *Quality) mapping {
	return mapping{fields: []field{
		{key: "min_sharpness", value: number{to: &q.MinSharpness, max: 1_000_000},
			doc: "Leave out blurred crops: the least variance of the Laplacian of their luminance, at 64 pixels a side at most."},
		{key: "min_contrast", value: number{to: &q.MinContrast, max: 128},
			doc: "Leave out crops that are nearly uniform: the least standard deviation of their luminance (0 to 255)."},
		{key: "min_colour", value: number{to: &q.MinColour, max: 255},
			doc: "Leave out grey crops: the least mean distance of their chroma from grey (|Cb - 128| + |Cr - 128|)."},
	}}
}

func cropGrammar(c *Crop) mapping {
	return mapping{fields: []field{
		{key: "pad", value: number{to: &c.Pad, max: 10},
			doc: "Context added on each side, as a fraction of the box's side."},
		{key: "shape", value: choice{&c.Shape, []string{"keep", "stretch", "square", "letterbox"}},
			doc: "keep the box's proportions, stretch it, cut a square around it, or letterbox it in black."},
		{key: "size", value: optionalInteger(integer[int]{&c.Size, 1, maxPixels}),
			doc: "Pixels of a side (of the longer side with keep). none keeps the photo's pixels."},
		{key: "truncated_files", value: choice{&c.TruncatedFiles, []string{"drop", "keep"}},
			doc: "What becomes of a JPEG that was cut short: drop it, or keep what there is of it, with grey for the rest."},
	}}
}

func splitGrammar(s *Split) mapping {
	return mapping{fields: []field{
		{key: "train", value: number{to: &s.Train, max: 1, openMin: true},
			doc: "The fraction to train on."},
		{key: "validation", value: number{to: &s.Validation, max: 1, openMax: true},
			doc: "The fraction that watches the training."},
		{key: "test", value: number{to: &s.Test, max: 1, openMin: true, openMax: true},
			doc: "The fraction that the report is about."},
		{key: "by", value: choice{&s.By, []string{"image"}},
			doc: "What stays together: no two crops of one photo are in different sets."},
	}}
}

func modelGrammar(m *Model) mapping {
	return mapping{fields: []field{
		{key: "layers", value: shorthand{
			short:   network{name: &m.LayersName, layers: &m.Layers},
			full:    layersGrammar(&m.Layers, 1, true),
			isShort: func() bool { return m.LayersName != "" },
			long:    func() { m.LayersName = "" },
		}, doc: "The network without its classification layer, which follows from the labels: by name or as a list."},
		{key: "size", value: optionalInteger(integer[int]{&m.Size, 1, maxPixels}),
			doc: "Pixels of a side of the square pictures that the network reads. none takes the crops' size, or 128 where they keep their pixels."},
		{key: "augment", value: augmentGrammar(&m.Augment),
			doc: "Random changes made to training pictures."},
		{key: "optimizer", value: optimizerGrammar(&m.Optimizer),
			doc: "The rule that updates the weights."},
		{key: "schedule", value: scheduleGrammar(&m.Schedule),
			doc: "How the learning rate changes."},
		{key: "class_weights", value: shorthand{
			short:   choice{&m.ClassWeights.Name, []string{none, balanced}},
			full:    numberMap{to: &m.ClassWeights.Weights, want: "a mapping from classes to numbers", key: text{want: "the name of a class", form: className, max: 128}, max: maxLabels, high: 1000},
			isShort: func() bool { return m.ClassWeights.Name != "" },
			long:    func() { m.ClassWeights.Name = "" },
		}, doc: "How much a picture counts in the loss: as much as any, balanced by how many there are of its class, or by class (1 where it is not named)."},
		{key: "label_smoothing", value: number{to: &m.Smoothing, max: 1, openMax: true},
			doc: "How much of each label is spread evenly over all of them."},
		{key: "batch", value: integer[int]{&m.Batch, 1, maxBatch},
			doc: "Pictures per update."},
		{key: "epochs", value: integer[int]{&m.Epochs, 1, maxEpochs},
			doc: "Passes over the training set, at most."},
		{key: "early_stopping", value: optional(pointer[EarlyStopping]{
			to:    &m.EarlyStopping,
			fresh: EarlyStopping{Monitor: "val_loss", Patience: 4, RestoreBest: true},
			value: earlyStoppingGrammar,
		}), doc: "When to stop before the last epoch."},
		{key: repeatArticle, value: boolean{&m.RepeatArticle},
			doc: "Repeats the article's procedure, bugs and all: trains and reports on the same pictures. All other keys of the model are the article's."},
	}}
}

// layersGrammar is a list of layers; residual blocks stand in a network, not in each other.
func layersGrammar(to *[]Layer, least int, blocks bool) list[Layer] {
	return list[Layer]{to: to, of: "layers", min: least, max: maxLayers, item: func(l *Layer) value { return layerGrammar(l, blocks) }}
}

func layerGrammar(l *Layer, blocks bool) value {
	keys := []field{
		{key: "conv", value: pointer[Conv]{to: &l.Conv, fresh: freshConv(), value: convGrammar},
			doc: "A 2-D convolution."},
		{key: "depthwise", value: pointer[Depthwise]{to: &l.Depthwise, fresh: freshDepthwise(), value: depthwiseGrammar},
			doc: "A convolution in which each channel has a kernel of its own."},
		{key: "batch_norm", value: pointer[BatchNorm]{to: &l.BatchNorm, fresh: freshBatchNorm(), value: batchNormGrammar},
			doc: "Batch normalization of each channel, with a trained scale and offset. The word alone takes the defaults."},
		{key: "activation", value: pointer[Activation]{to: &l.Activation, value: func(a *Activation) value { return activation(&a.Name) }},
			doc: "A function of each value."},
		{key: "max_pool", value: pointer[Pool]{to: &l.MaxPool, fresh: Pool{Padding: "valid"}, value: poolGrammar},
			doc: "The maximum of each window of this side."},
		{key: "average_pool", value: pointer[Pool]{to: &l.AveragePool, fresh: Pool{Padding: "valid"}, value: poolGrammar},
			doc: "The mean of each window of this side."},
		{key: "global_pool", value: pointer[GlobalPool]{to: &l.GlobalPool, value: func(p *GlobalPool) value { return choice{&p.Of, []string{average, maximum}} }},
			doc: "One value for each channel: its average or its maximum."},
		{key: "dense", value: pointer[Dense]{to: &l.Dense, fresh: Dense{Activation: "relu"}, value: denseGrammar},
			doc: "A fully connected layer with a bias."},
		{key: "dropout", value: pointer[Dropout]{to: &l.Dropout, value: func(p *Dropout) value { return number{to: &p.Rate, max: 1, openMax: true} }},
			doc: "Zeroes each value with this probability while training."},
	}
	if blocks {
		keys = append(keys, field{key: "residual", value: pointer[Residual]{to: &l.Residual, fresh: Residual{Activation: "relu"}, value: residualGrammar},
			doc: "Adds what its layers make of a picture to the picture."})
	}
	return oneOf{
		what: "a layer",
		keys: keys,
		bare: []bareWord{
			{word: "flatten", doc: "Makes one vector of a picture.",
				is: func() bool { return l.Flatten != nil }, choose: func() { l.Flatten = &Flatten{} }},
			{word: "batch_norm", doc: "Batch normalization with the defaults.",
				is: func() bool { return l.BatchNorm != nil && *l.BatchNorm == freshBatchNorm() }, choose: func() { b := freshBatchNorm(); l.BatchNorm = &b }},
		},
	}
}

func activation(to *string) choice { return choice{to, Activations()} }

func padding(to *string) field {
	return field{key: "padding", value: choice{to, []string{"valid", "same"}},
		doc: "valid takes whole windows only; same lays zeros around the picture, so that there is a window for each stride."}
}

func stride(to *int) field {
	return field{key: "stride", value: integer[int]{to, 1, maxKernel}, doc: "Pixels from one place of the kernel to the next."}
}

func kernel(to *int) field {
	return field{key: "kernel", value: integer[int]{to, 1, maxKernel}, doc: "Pixels of a side of the kernel."}
}

func dilation(to *int) field {
	return field{key: "dilation", value: integer[int]{to, 1, maxKernel}, doc: "Pixels from one value that the kernel reads to the next."}
}

func bias(to *bool) field {
	return field{key: "bias", value: boolean{to}, doc: "Whether each channel of the result adds a number of its own. batch_norm makes it idle."}
}

func applied(to *string) field {
	return field{key: "activation", value: activation(to), doc: "What is applied to the result."}
}

func convGrammar(c *Conv) value {
	return mapping{fields: []field{
		{key: "filters", required: true, value: integer[int]{&c.Filters, 1, maxFilters},
			doc: "Channels of the result."},
		kernel(&c.Kernel), stride(&c.Stride), padding(&c.Padding), dilation(&c.Dilation),
		{key: "groups", value: integer[int]{&c.Groups, 1, maxFilters},
			doc: "Groups of channels that do not meet."},
		bias(&c.Bias), applied(&c.Activation),
	}}
}

func depthwiseGrammar(d *Depthwise) value {
	return mapping{fields: []field{
		kernel(&d.Kernel), stride(&d.Stride), padding(&d.Padding), dilation(&d.Dilation), bias(&d.Bias), applied(&d.Activation),
	}}
}

func batchNormGrammar(b *BatchNorm) value {
	return mapping{fields: []field{
		{key: "momentum", value: number{to: &b.Momentum, max: 1, openMax: true},
			doc: "How much of the moving averages stays at each step."},
		{key: "epsilon", value: number{to: &b.Epsilon, max: 1, openMin: true},
			doc: "Added to the variance."},
	}}
}

func poolGrammar(p *Pool) value {
	size := integer[int]{&p.Size, 1, maxKernel}
	return shorthand{
		short:   size,
		isShort: func() bool { return p.Stride == 0 && p.Padding == "valid" },
		full: mapping{fields: []field{
			{key: "size", required: true, value: size,
				doc: "Pixels of a side of a window."},
			{key: "stride", value: optionalInteger(integer[int]{&p.Stride, 1, maxKernel}),
				doc: "Pixels from one window to the next. none takes the size."},
			padding(&p.Padding),
		}},
	}
}

func denseGrammar(d *Dense) value {
	return mapping{fields: []field{
		{key: "units", required: true, value: integer[int]{&d.Units, 1, maxUnits},
			doc: "Values of the result."},
		applied(&d.Activation),
	}}
}

func residualGrammar(r *Residual) value {
	return mapping{fields: []field{
		{key: "layers", required: true, value: layersGrammar(&r.Layers, 1, false),
			doc: "What is added: any layers but residual."},
		{key: "shortcut", value: layersGrammar(&r.Shortcut, 0, false),
			doc: "What it is added to: any layers but residual, such as a conv where the shape changes. None is the picture itself."},
		applied(&r.Activation),
	}}
}

func scheduleGrammar(s *Schedule) value {
	factor := func(to *float64) field {
		return field{key: "factor", value: number{to: to, max: 1, openMin: true, openMax: true}, doc: "What the rate is multiplied by."}
	}
	floor := func(to *float64) field {
		return field{key: "floor", value: number{to: to, max: 1, openMax: true}, doc: "The smallest rate, as a fraction of the learning rate."}
	}
	return oneOf{
		what: "a schedule",
		keys: []field{
			{key: "step", value: pointer[StepSchedule]{to: &s.Step, fresh: StepSchedule{Every: 10, Factor: 0.1}, value: func(s *StepSchedule) value {
				return mapping{fields: []field{
					{key: "every", value: integer[int]{&s.Every, 1, maxEpochs}, doc: "Epochs between two changes."},
					factor(&s.Factor),
				}}
			}}, doc: "Lower after so many epochs."},
			{key: "cosine", value: pointer[CosineSchedule]{to: &s.Cosine, value: func(c *CosineSchedule) value {
				return mapping{fields: []field{
					{key: "warm_up", value: number{to: &c.WarmUp, max: maxEpochs}, doc: "Epochs over which the rate rises from 0, step by step."},
					floor(&c.Floor),
				}}
			}}, doc: "Lower along half a cosine, step by step, to the last epoch."},
			{key: "plateau", value: pointer[PlateauSchedule]{to: &s.Plateau, fresh: PlateauSchedule{Monitor: valLoss, Factor: 0.1, Patience: 10, MinDelta: 1e-4}, value: func(p *PlateauSchedule) value {
				return mapping{fields: []field{
					{key: "monitor", value: choice{&p.Monitor, []string{valLoss, valAccuracy}}, doc: "What must get better, on the validation set."},
					factor(&p.Factor),
					{key: "patience", value: integer[int]{&p.Patience, 0, maxEpochs}, doc: "Epochs to wait for something better."},
					{key: "min_delta", value: number{to: &p.MinDelta, max: 1000}, doc: "How much better counts."},
					floor(&p.Floor),
				}}
			}}, doc: "Lower when nothing gets better, as Keras' ReduceLROnPlateau."},
		},
		bare: []bareWord{{word: constant, doc: "The learning rate as it is.",
			is:     func() bool { return *s == Schedule{} },
			choose: func() { *s = Schedule{} }}},
	}
}

func augmentGrammar(a *Augment) mapping {
	return mapping{fields: []field{
		{key: "rotation", value: number{to: &a.Rotation, max: 180},
			doc: "Degrees: turned by up to this, either way."},
		{key: "shift", value: number{to: &a.Shift, max: 1},
			doc: "Fraction of the side: moved by up to this along each axis."},
		{key: "shear", value: number{to: &a.Shear, max: 90, openMax: true},
			doc: "Degrees, as in Keras 2.2.4: sheared by up to this, either way."},
		{key: "zoom", value: number{to: &a.Zoom, max: 1, openMax: true},
			doc: "Scaled along each axis by a factor from 1 - zoom to 1 + zoom."},
		{key: "flip", value: choice{&a.Flip, []string{none, "horizontal", "vertical", "both"}},
			doc: "Mirrored in half of the cases, left and right, up and down, or each by itself."},
		{key: "crop", value: integer[int]{&a.Crop, 0, maxPixels},
			doc: "Pixels: moved by up to so many whole pixels along each axis; what comes in is the reflection."},
		{key: "brightness", value: number{to: &a.Brightness, max: 1, openMax: true},
			doc: "Multiplied by a factor from 1 - brightness to 1 + brightness."},
		{key: "contrast", value: number{to: &a.Contrast, max: 1, openMax: true},
			doc: "The distance from the picture's mean grey multiplied by a factor from 1 - contrast to 1 + contrast."},
		{key: "saturation", value: number{to: &a.Saturation, max: 1, openMax: true},
			doc: "The distance from each pixel's grey multiplied by a factor from 1 - saturation to 1 + saturation."},
		{key: "hue", value: number{to: &a.Hue, max: 0.5},
			doc: "Fraction of the circle of colours: turned by up to this, either way."},
		{key: "cutout", value: number{to: &a.Cutout, max: 1},
			doc: "Fraction of the side: a square so large, anywhere, becomes grey."},
		{key: "mixup", value: number{to: &a.Mixup, max: 1},
			doc: "Each picture is mixed with another one of its batch, and so are their labels; the share is drawn from the beta distribution with both parameters so large. 0 mixes nothing."},
	}}
}

func optimizerGrammar(o *Optimizer) mapping {
	fraction := func(to *float64) number { return number{to: to, max: 1, openMax: true} }
	// of leaves a setting out that other optimizers have.
	of := func(v value, names ...string) rendered {
		return rendered{v, func() bool { return slices.Contains(names, o.Name) }}
	}
	return mapping{fields: []field{
		{key: "name", value: choice{&o.Name, []string{sgd, rmsprop, adam, adamW}},
			doc: "The rule: rmsprop as Keras defines it, the others as PyTorch does."},
		{key: "learning_rate", value: number{to: &o.LearningRate, max: 10, openMin: true},
			doc: "The size of a step."},
		{key: "momentum", value: of(fraction(&o.Momentum), sgd),
			doc: "sgd: how much of the last step is taken again; 0 unless given."},
		{key: "nesterov", value: of(boolean{&o.Nesterov}, sgd),
			doc: "sgd: take the momentum first and the gradient then; false unless given."},
		{key: "rho", value: of(number{to: &o.Rho, max: 1, openMin: true, openMax: true}, rmsprop),
			doc: "rmsprop: the decay of the average of squared gradients."},
		{key: "beta1", value: of(fraction(&o.Beta1), adam, adamW),
			doc: "adam, adamw: the decay of the average of gradients; 0.9 unless given."},
		{key: "beta2", value: of(fraction(&o.Beta2), adam, adamW),
			doc: "adam, adamw: the decay of the average of squared gradients; 0.999 unless given."},
		{key: "epsilon", value: of(number{to: &o.Epsilon, max: 1, openMin: true}, rmsprop, adam, adamW),
			doc: "rmsprop, adam, adamw: added to the denominator."},
		{key: "weight_decay", value: fraction(&o.WeightDecay),
			doc: "How much of each kernel is added to its gradient (adamw: taken off it at each step, times the rate). Biases and batch_norm are left alone."},
		{key: "clip_norm", value: number{to: &o.ClipNorm, max: 1e6},
			doc: "How long all gradients together may be, at most; longer ones are shortened. 0 leaves them."},
	}}
}

func earlyStoppingGrammar(e *EarlyStopping) value {
	return mapping{fields: []field{
		{key: "monitor", value: choice{&e.Monitor, []string{valLoss, valAccuracy}},
			doc: "What must get better, on the validation set."},
		{key: "patience", value: integer[int]{&e.Patience, 0, maxEpochs},
			doc: "Epochs to wait for something better."},
		{key: "min_delta", value: number{to: &e.MinDelta, max: 1000},
			doc: "How much better counts."},
		{key: "restore_best", value: boolean{&e.RestoreBest},
			doc: "End with the best epoch's weights rather than the last's."},
	}}
}

func codeGrammar(c *Code) value {
	return mapping{fields: []field{
		{key: "git", required: true, value: text{to: &c.Git, want: "a folder", form: folder, max: maxText},
			doc: "A folder in a git work tree. Its commit is recorded; a dirty tree is refused unless allowed."},
	}}
}

func cacheGrammar(c *Cache) value {
	return mapping{fields: []field{
		{key: "remote", required: true, value: text{to: &c.Remote, want: "s3://bucket/prefix, file:///path or a folder", form: registryPlace, max: maxText},
			doc: "Where it is: s3://bucket/prefix, or a folder that all machines see. Whoever can write there decides what your builds come to."},
		{key: "mode", value: choice{&c.Mode, []string{ReadWrite, ReadOnly}},
			doc: "read-write also puts there what this machine builds."},
	}}
}

func environmentGrammar(e *Environment) mapping {
	return mapping{fields: []field{
		{key: "native", value: rendered{boolean{&e.Native}, func() bool { return !e.InImage() }},
			doc: "Stages of your own are programs of this machine: so it is without an image."},
		{key: "image", value: text{to: &e.Image, want: imageWant, form: imagePlace, max: maxText, optional: true},
			doc: "Stages run in this image: repository:tag, which the lock pins, repository@sha256:…, or ./path of a layout folder or a tarball."},
		{key: "dockerfile", value: text{to: &e.Dockerfile, want: dockerfileWant, form: folder, max: maxText, optional: true},
			doc: "Stages run in the image of this Dockerfile, which is built once and pinned by the lock. Its folder, below the manifest's, is its context."},
		{key: "pip", value: text{to: &e.Pip, want: "a file of requirements beside the manifest", form: localPath, max: maxText, optional: true},
			doc: "Stages of your own import what this file of pip's requirements asks for. The lock pins the wheels that it comes to."},
		{key: "conda", value: text{to: &e.Conda, want: "an environment.yml beside the manifest", form: localPath, max: maxText, optional: true},
			doc: "Stages of your own run with the packages of conda's that this file asks for. The lock pins those that it comes to."},
	}}
}

const dockerfileWant = "a file in a folder of its own, such as environment/Dockerfile"

const imageWant = "an image: repository:tag, repository@sha256:…, or the path of one, which begins with ./ or /"

func packageGrammar(p *Package) mapping {
	return mapping{fields: []field{
		{key: "originals", value: boolean{&p.Originals},
			doc: "The photos as downloaded, so that a rebuild does not depend on links that die."},
		{key: "image", value: boolean{&p.Image},
			doc: "The image of the environment, so that a rebuild needs no registry. Without it, the package has its digest."},
		{key: "wheels", value: boolean{&p.Wheels},
			doc: "The wheels of the environment, so that a rebuild needs no index. Without them, the package has their digests."},
		{key: "conda", value: boolean{&p.Conda},
			doc: "The packages of conda's of the environment, so that a rebuild needs no channel. Without them, the package has their digests."},
	}}
}
