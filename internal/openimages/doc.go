// Package openimages reads and writes the metadata of Open Images: the class
// list, the label hierarchy, box files and image files in their official forms
// (V2 to V7), and the files that sandwich makes of them (boxes.csv, images.csv,
// labels.json, funnel.json).
//
// Every reader either yields the right rows or ends with an error that names the
// file, the line and the column: what people have under these names includes
// workbooks called .csv, pixel coordinates and files saved by Excel for Mac. The
// readers stream; memory is bounded by one row, whatever the file's size.
//
// The package is a leaf: it takes readers and writers, and knows no store.
package openimages
