package manifest

import "regexp"

// The words of the language.
const (
	articleLayers = "article"
	flattenLayer  = "flatten"
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
	packageName = regexp.MustCompile(`^[A-Za-z0-9_-]+/[A-Za-z0-9_-]+$`)
	anyLines    = regexp.MustCompile(`^[^\x00-\x08\x0B-\x1F\x7F]*$`)
	oneLine     = regexp.MustCompile(`^[^\x00-\x1F\x7F]+$`)
	// A class names a folder of the package, so it may not hide or climb.
	className = regexp.MustCompile(`^[^\x00-\x1F\x7F/\\. ][^\x00-\x1F\x7F/\\]*$`)
	// A location is a path, or a URL that can be read without credentials.
	location = regexp.MustCompile(`^(https?://[^\x00-\x20\x7F]+|[^\x00-\x1F\x7F:]+)$`)
	// A registry is a bucket, a file URL or a path.
	registryPlace = regexp.MustCompile(`^(s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x20\x7F]*)?|file:///[^\x00-\x1F\x7F]+|[^\x00-\x1F\x7F:]+)$`)
	folder        = regexp.MustCompile(`^[^\x00-\x1F\x7F:]+$`)
	urlPrefix     = regexp.MustCompile(`^https?://[^\x00-\x20\x7F]+$`)
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
		Crop:  Crop{Shape: "stretch", Size: articleSide},
		Split: Split{Train: 0.8, Validation: 0.1, Test: 0.1, By: "image"},
		Model: Model{
			LayersName: articleLayers,
			Layers:     ArticleLayers(),
			Augment:    Augment{Flip: none},
			Optimizer:  Optimizer{Name: "rmsprop", LearningRate: 0.0005, Rho: 0.9, Epsilon: 1e-7},
			Batch:      16,
			Epochs:     50,
		},
		Environment: Environment{Native: true},
		Package:     Package{Originals: true},
		Registry:    DefaultRegistry,
	}
}

// ArticleLayers is the article's network, without the classification layer, which
// follows from the labels: three convolutions, one hidden layer, 831,585 parameters
// with two labels.
func ArticleLayers() []Layer {
	conv := func(filters int) Layer {
		return Layer{Conv: &Conv{Filters: filters, Kernel: 3, Padding: "valid", Activation: "relu"}}
	}
	pool := func() Layer { return Layer{MaxPool: &MaxPool{Size: 2}} }
	return []Layer{
		conv(32), pool(), conv(32), pool(), conv(64), pool(),
		{Flatten: &Flatten{}},
		{Dense: &Dense{Units: 64, Activation: "relu"}},
		{Dropout: &Dropout{Rate: 0.5}},
	}
}

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
		{key: "split", value: splitGrammar(&m.Split),
			doc: "How the photos are divided into three sets. The fractions add up to 1."},
		{key: "model", value: modelGrammar(&m.Model),
			doc: "What is trained, and how."},
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
			key:   text{want: "an http or https URL prefix", form: urlPrefix, max: maxText},
			value: text{want: "an http or https URL prefix or a folder", form: location, max: maxText}},
			doc: "URL prefixes, and the URL prefix or folder to read instead. The longest prefix counts."},
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
			full:    sourceGrammar(&d.Source),
			isShort: func() bool { return d.Source.Name != "" },
		}, doc: "The data set, by name or as four files of your own."},
		{key: "subsets", value: list[string]{to: &d.Subsets, of: "subsets", min: 1, max: 3, same: equal,
			item: func(s *string) value { return choice{s, []string{"train", "validation", "test"}} }},
			doc: "Which of the data set's subsets to draw from. They are not the split: that is your own."},
		{key: "labels", required: true, value: list[Label]{to: &d.Labels, of: "labels", min: 2, max: maxLabels, item: labelGrammar},
			doc: "The labels to tell apart, by name or id."},
		{key: "images", value: list[string]{to: &d.Images, of: "places", min: 1, max: 3, same: equal,
			item: func(s *string) value { return choice{s, []string{"original", "thumbnail", "cvdf"}} }},
			doc: "Where to try each photo, in this order."},
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
			short:   choice{&m.LayersName, []string{articleLayers}},
			full:    list[Layer]{to: &m.Layers, of: "layers", min: 1, max: maxLayers, item: layerGrammar},
			isShort: func() bool { return m.LayersName != "" },
			long:    func() { m.LayersName = "" },
		}, doc: "The network without its classification layer, which follows from the labels: by name or as a list."},
		{key: "size", value: optionalInteger(integer[int]{&m.Size, 1, maxPixels}),
			doc: "Pixels of a side of the square pictures that the network reads. none takes the crops' size, or 128 where they keep their pixels."},
		{key: "augment", value: augmentGrammar(&m.Augment),
			doc: "Random changes made to training pictures."},
		{key: "optimizer", value: optimizerGrammar(&m.Optimizer),
			doc: "The rule that updates the weights."},
		{key: "batch", value: integer[int]{&m.Batch, 1, maxBatch},
			doc: "Pictures per update."},
		{key: "epochs", value: integer[int]{&m.Epochs, 1, maxEpochs},
			doc: "Passes over the training set, at most."},
		{key: "early_stopping", value: optional(pointer[EarlyStopping]{
			to:    &m.EarlyStopping,
			fresh: EarlyStopping{Monitor: "val_loss", Patience: 4, RestoreBest: true},
			value: earlyStoppingGrammar,
		}), doc: "When to stop before the last epoch."},
	}}
}

func layerGrammar(l *Layer) value {
	return oneOf{
		what: "a layer",
		keys: []field{
			{key: "conv", value: pointer[Conv]{to: &l.Conv, fresh: Conv{Kernel: 3, Padding: "valid", Activation: "relu"}, value: convGrammar},
				doc: "A 2-D convolution with stride 1 and a bias."},
			{key: "max_pool", value: pointer[MaxPool]{to: &l.MaxPool, value: func(p *MaxPool) value { return integer[int]{&p.Size, 2, maxKernel} }},
				doc: "The maximum of each window of this side; a rest smaller than a window is dropped."},
			{key: "dense", value: pointer[Dense]{to: &l.Dense, fresh: Dense{Activation: "relu"}, value: denseGrammar},
				doc: "A fully connected layer with a bias."},
			{key: "dropout", value: pointer[Dropout]{to: &l.Dropout, value: func(p *Dropout) value { return number{to: &p.Rate, max: 1, openMax: true} }},
				doc: "Zeroes each value with this probability while training."},
		},
		bare:   flattenLayer,
		doc:    "Makes one vector of a picture.",
		isBare: func() bool { return l.Flatten != nil },
		choose: func() { l.Flatten = &Flatten{} },
	}
}

func activation(to *string) choice { return choice{to, []string{none, "relu"}} }

func convGrammar(c *Conv) value {
	return mapping{fields: []field{
		{key: "filters", required: true, value: integer[int]{&c.Filters, 1, maxFilters},
			doc: "Channels of the result."},
		{key: "kernel", value: integer[int]{&c.Kernel, 1, maxKernel},
			doc: "Pixels of a side of the kernel."},
		{key: "padding", value: choice{&c.Padding, []string{"valid", "same"}},
			doc: "valid shrinks the picture by the kernel less one, same keeps its size."},
		{key: "activation", value: activation(&c.Activation),
			doc: "What is applied to the result."},
	}}
}

func denseGrammar(d *Dense) value {
	return mapping{fields: []field{
		{key: "units", required: true, value: integer[int]{&d.Units, 1, maxUnits},
			doc: "Values of the result."},
		{key: "activation", value: activation(&d.Activation),
			doc: "What is applied to the result."},
	}}
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
		{key: "flip", value: choice{&a.Flip, []string{none, "horizontal"}},
			doc: "Mirrored in half of the cases."},
	}}
}

func optimizerGrammar(o *Optimizer) mapping {
	return mapping{fields: []field{
		{key: "name", value: choice{&o.Name, []string{"rmsprop"}},
			doc: "The rule, as Keras defines it. There is one so far."},
		{key: "learning_rate", value: number{to: &o.LearningRate, max: 10, openMin: true},
			doc: "The size of a step."},
		{key: "rho", value: number{to: &o.Rho, max: 1, openMin: true, openMax: true},
			doc: "The decay of the average of squared gradients."},
		{key: "epsilon", value: number{to: &o.Epsilon, max: 1, openMin: true},
			doc: "Added to the denominator."},
	}}
}

func earlyStoppingGrammar(e *EarlyStopping) value {
	return mapping{fields: []field{
		{key: "monitor", value: choice{&e.Monitor, []string{"val_loss", "val_accuracy"}},
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
	return mapping{
		fields: []field{
			{key: "native", value: boolean{&e.Native},
				doc: "Run in this binary itself; its toolchain and modules are recorded."},
		},
		reserved: map[string]string{"image": "OCI images are not supported yet: only native: true is"},
	}
}

func packageGrammar(p *Package) mapping {
	return mapping{fields: []field{
		{key: "originals", value: boolean{&p.Originals},
			doc: "The photos as downloaded, so that a rebuild does not depend on links that die."},
	}}
}
