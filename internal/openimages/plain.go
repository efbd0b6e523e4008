package openimages

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Most box files are the official ones, and all but some of their rows have one form:
//
//	000002b66c9c498e,xclick,/m/01g317,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0
//
// What stands behind the label takes the same bytes in each. Such a row is found, cut into
// fields and checked at once, by looking at eight bytes at a time, in a quarter of the time
// that the general way takes. A row that is not of this form, right or wrong, goes the general
// way: the two must agree, which FuzzScan holds.

// plainColumns are the columns of a file whose rows may be plain, in their order.
var plainColumns = []string{
	"ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
	"IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
}

const (
	plainID       = 16                             // hexadecimal digits
	plainFraction = len("0.000000")                // a coordinate
	plainTail     = len(",1,") + 4*plainFraction + // from behind the label: confidence and coordinates,
		len(",,,") + 2*int(NumAttributes) // and flags
	minPlain = plainID + len(",,/") + plainTail // bytes of a row
	maxPlain = minPlain + 64
)

// plainFields are the fields of a plain row behind the label, from where that ends.
var plainFields = func() (fields [13]span) {
	at := int32(1)
	for i := 3; i < len(fields); i++ {
		n := int32(1)
		if i >= 4 && i < 8 {
			n = int32(plainFraction)
		}
		fields[i] = span{at, at + n}
		at += n + 1
	}
	return fields
}()

// mayBePlain reports whether rows of the file may be plain.
func (t *table) mayBePlain() bool {
	return t.comma == ',' && t.eol == '\n' && slices.Equal(t.header, plainColumns)
}

// plainRow is a plain row: where in a text it starts, and where in it the label starts and ends.
type plainRow struct{ from, label, tail int32 }

// plainRows finds the plain rows at the start of a text, as many as there is room for, and
// returns how many there are. The last row of a text is not looked at.
func plainRows(text []byte, rows []plainRow) int {
	last := len(text) - maxPlain - 8
	if last < 0 {
		return 0
	}
	if fastPlainRows != nil {
		return fastPlainRows(text, last, rows)
	}
	return portablePlainRows(text, last, rows)
}

// portablePlainRows is plainRows for rows that start at up to last.
func portablePlainRows(text []byte, last int, rows []plainRow) int {
	n := 0
	for from := 0; n < len(rows) && from <= last; n++ {
		label, end := isPlain(text[from:])
		if end == 0 {
			break
		}
		rows[n] = plainRow{int32(from), int32(label), int32(end - plainTail)}
		from += end + 1
	}
	return n
}

// isPlain returns where the label of the row that a text starts with is, and where its line ends;
// 0 when the row is not plain.
func isPlain(text []byte) (label, end int) {
	// The first line end behind the shortest row; one before that would be in a part of the row
	// that has no room for it.
	end = minPlain
	for {
		x := binary.LittleEndian.Uint64(text[end:]) ^ ones*'\n'
		if zeros := (x - ones) &^ x & top; zeros != 0 {
			end += bits.TrailingZeros64(zeros) / 8
			break
		}
		if end += 8; end > maxPlain-8 {
			return 0, 0
		}
	}
	row := text[:end]
	tail := end - plainTail
	if label = plainLabel(row, tail); label < 0 || !isPlainID(row) || !isPlainTail(row[tail:]) {
		return 0, 0
	}
	return label, end
}

// nextPlain moves to the next row if that is plain and whole in the buffer. Such a row is
// right, and needs no further check.
func (t *table) nextPlain() bool {
	if len(t.ahead) == 0 {
		t.base = t.pos + t.taken
		if t.ahead = t.batch[:plainRows(t.buf[t.base:t.end], t.batch[:])]; len(t.ahead) == 0 {
			return false
		}
	}
	row := t.ahead[0]
	t.ahead = t.ahead[1:]
	t.pos, t.at = t.base+int(row.from), t.line
	end := int(row.tail) + plainTail
	t.row, t.label, t.tail, t.taken = t.buf[t.pos:t.pos+end], row.label, row.tail, end+1
	t.line++
	return true
}

// plainField returns where field i of a plain row is.
func (t *table) plainField(i int) span {
	switch i {
	case 0:
		return span{0, plainID}
	case 1:
		return span{plainID + 1, t.label - 1}
	case 2:
		return span{t.label, t.tail}
	}
	f := plainFields[i]
	return span{t.tail + f.from, t.tail + f.to}
}

const (
	ones = 0x0101010101010101
	low7 = 0x7f * ones
	top  = 0x80 * ones
)

// zeroBytes returns a number with the top bit set of each byte that is zero in x.
func zeroBytes(x uint64) uint64 { return ^((x&low7 + low7) | x | low7) }

// isPlainID reports whether a row starts with 16 digits and letters from a to f, and a comma.
func isPlainID(row []byte) bool {
	return row[plainID] == ',' && allHex(binary.LittleEndian.Uint64(row)) && allHex(binary.LittleEndian.Uint64(row[8:]))
}

// allHex reports whether the eight bytes of x are digits and letters from a to f.
//
// Of bytes below 128, b+0x80-c has its top bit set if b >= c. No byte carries into the next.
func allHex(x uint64) bool {
	digit := (x + (0x80-'0')*ones) &^ (x + (0x80-'9'-1)*ones)
	letter := (x + (0x80-'a')*ones) &^ (x + (0x80-'f'-1)*ones)
	return x&top == 0 && (digit|letter)&top == top
}

// plainLabel returns where the label starts in a row whose label ends at tail. It returns -1
// unless source and label are of visible ASCII without quotes, with a comma between them
// and nothing missing.
func plainLabel(row []byte, tail int) int {
	comma := -1
	for at := plainID + 1; at < tail; at += 8 {
		x := binary.LittleEndian.Uint64(row[at:]) // there is room: the tail is longer
		if left := tail - at; left < 8 {
			inside := uint64(1)<<(8*left) - 1
			x = x&inside | 'a'*ones&^inside
		}
		if visible := (x + (0x80-'!')*ones) &^ (x + (0x80-0x7f)*ones) &^ x; visible&top != top || zeroBytes(x^'"'*ones) != 0 {
			return -1
		}
		if commas := zeroBytes(x ^ ','*ones); commas != 0 {
			if comma >= 0 || commas&(commas-1) != 0 {
				return -1
			}
			comma = at + bits.TrailingZeros64(commas)/8
		}
	}
	if comma < 0 || comma+1 == tail {
		return -1
	}
	return comma + 1
}

// isPlainTail reports whether tail is a confidence of 1, four fractions of six digits below 1,
// and flags that are 0 or 1.
func isPlainTail(tail []byte) bool {
	if len(tail) != plainTail || tail[0] != ',' || tail[1] != '1' {
		return false
	}
	const (
		point  = uint64('0') | '.'<<8 // the first two bytes of a fraction
		upper  = 0xf0f0f0f0f0f00000   // the upper halves of the other six
		digits = 0x3030303030300000   // which digits have
		sixes  = 0x0606060606060000
		flags  = uint64(',') | '0'<<8 | ','<<16 | '0'<<24 | ','<<32 | '0'<<40 | ','<<48 | '0'<<56
	)
	for i := 2; i < 2+4*(plainFraction+1); i += plainFraction + 1 {
		x := binary.LittleEndian.Uint64(tail[i+1:])
		// A digit plus six does not reach into the upper half either.
		if tail[i] != ',' || x&0xffff != point || x&upper != digits || (x+sixes)&upper != digits {
			return false
		}
	}
	x := binary.LittleEndian.Uint64(tail[plainTail-10:])
	return x&^0x0100010001000100 == flags && tail[plainTail-2] == ',' && tail[plainTail-1]&^1 == '0'
}
