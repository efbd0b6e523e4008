package dataset

import (
	"context"
	"strings"

	"github.com/sandwich-build/sandwich/manifest"
)

// folders has a folder of photos for each class: photos/cat/1.jpg is a cat.
type folders struct{}

func (folders) Describe() string { return "folders 1" }

func (folders) Read(ctx context.Context, in Input, out *Tables) error {
	photos := in.Files[manifest.Photos]
	for e, err := range photos.entries(ctx) {
		if err != nil {
			return err
		}
		class, _, ok := strings.Cut(e.Path, "/")
		if !ok {
			return &FaultError{File: photos.place(e.Path), Problem: "want each photo in the folder of its class"}
		}
		if err := out.Class(classID(class), class); err != nil {
			return &FaultError{File: photos.place(class), Problem: err.Error()}
		}
		id, err := out.Photo(photos.photo(e))
		if err == nil {
			err = out.Box(id, classID(class), whole())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
