package openimages

// Where the files of this package are in the trees that stages exchange.
const (
	ClassesFile   = "classes.csv"    // metadata: the class list
	HierarchyFile = "hierarchy.json" // metadata: the hierarchy, if there is one

	SelectedBoxesFile  = "boxes.csv"   // selection: the boxes of a build
	SelectedImagesFile = "images.csv"  // selection: their photos
	LabelsFile         = "labels.json" // selection: the classes of a build
	FunnelFile         = "funnel.json" // selection, crops: what each rule dropped
)

// BoxesFile returns where the box file of a subset is in the tree of metadata.
func BoxesFile(subset string) string { return "boxes/" + subset + ".csv" }

// ImagesFile returns where the image file of a subset is in the tree of metadata.
func ImagesFile(subset string) string { return "images/" + subset + ".csv" }
