package openimages

import "errors"

// ImageID names a photo, 16 hexadecimal digits in the official files
// ("000002b66c9c498e"). An ImageID that a reader returned is safe to use as a
// file name: letters, digits, dots, dashes and underscores, not starting with a dot.
type ImageID string

// LabelID names a label in Freebase's way, such as "/m/0cdn1".
type LabelID string

// maxID bounds the length of an id, in bytes. A file name must fit in 255.
const maxID = 128

// What is wrong with a field; the reader adds what it got.
var (
	errMissing   = errors.New("want a value")
	errLong      = errors.New("want at most 128 bytes")
	errImageChar = errors.New("want letters, digits, dots, dashes and underscores, and no dot in front")
	errLabelChar = errors.New("want an id without spaces and control characters")
)

func checkImageID(id []byte) error {
	switch {
	case len(id) == 0:
		return errMissing
	case len(id) > maxID:
		return errLong
	case id[0] == '.':
		return errImageChar
	}
	for _, c := range id {
		if !imageChars[c] {
			return errImageChar
		}
	}
	return nil
}

// imageChars are the bytes of an image id, as a table because every byte of every
// row's id is looked up in it.
var imageChars = func() (table [256]bool) {
	for _, c := range "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_" {
		table[c] = true
	}
	return table
}()

func checkLabelID(id []byte) error {
	if len(id) == 0 {
		return errMissing
	}
	if len(id) > maxID {
		return errLong
	}
	for _, c := range id {
		if c <= ' ' || c == 0x7f {
			return errLabelChar
		}
	}
	return nil
}
