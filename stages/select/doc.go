// Package selection is the kind of stage "select": it reads the metadata of a data
// set once and again, and keeps the boxes that a manifest asks for and their photos.
//
// Its input "metadata" is what the stage of that name makes. Its output is
//
//	boxes.csv      sorted by subset (in the manifest's order), photo and box id
//	images.csv     sorted by subset and photo
//	labels.json    the classes
//	funnel.json    how many boxes and photos each rule dropped
//
// all of them read and written by package openimages. Memory does not follow what is selected, but
// for some 30 bytes of each photo that has one of the labels asked for.
//
// The folder is called select like the stage; the package is not, because select is
// a word of the language.
package selection
