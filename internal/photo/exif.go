package photo

import "encoding/binary"

// TIFF tags, in EXIF as in TIFF files.
const (
	tagCompression  = 0x0103
	tagOrientation  = 0x0112
	tagRowsPerStrip = 0x0116
	tagTileWidth    = 0x0142
	tagTileLength   = 0x0143
)

// exifOrientation returns the orientation that an EXIF block says, Upright when it
// says none or nonsense. EXIF is edited by many hands; a wrong tag is no reason to
// lose a photo.
func exifOrientation(tiff []byte) Orientation {
	for tag, value := range firstDirectory(tiff) {
		if tag == tagOrientation && value >= 1 && value <= 8 {
			return Orientation(value)
		}
	}
	return Upright
}

// firstDirectory goes over the entries of the first image file directory of a TIFF
// structure: the tag and its first value if that is a whole number. It ends without a
// word where the structure does.
func firstDirectory(tiff []byte) func(yield func(tag uint16, value uint32) bool) {
	return func(yield func(uint16, uint32) bool) {
		order, ok := byteOrder(tiff)
		if !ok {
			return
		}
		offset := uint64(order.Uint32(tiff[4:]))
		if offset+2 > uint64(len(tiff)) {
			return
		}
		entries := tiff[offset+2:]
		for range order.Uint16(tiff[offset:]) {
			if len(entries) < 12 {
				return
			}
			entry := entries[:12]
			entries = entries[12:]
			var value uint32
			switch order.Uint16(entry[2:]) {
			case 1: // BYTE
				value = uint32(entry[8])
			case 3: // SHORT
				value = uint32(order.Uint16(entry[8:]))
			case 4: // LONG
				value = order.Uint32(entry[8:])
			default:
				continue
			}
			if !yield(order.Uint16(entry), value) {
				return
			}
		}
	}
}

func byteOrder(tiff []byte) (binary.ByteOrder, bool) {
	if len(tiff) < 8 {
		return nil, false
	}
	switch string(tiff[:4]) {
	case "II*\x00":
		return binary.LittleEndian, true
	case "MM\x00*":
		return binary.BigEndian, true
	}
	return nil, false
}
