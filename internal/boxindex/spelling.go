package boxindex

import (
	"math"
	"strconv"
	"strings"
)

// A fraction such as "0.012500" is kept as a float32 and the number of its decimals. Where that
// does not give the text back ("1e-05", ".5", ten digits), the column Spelling has the texts of
// the box.

const (
	decimalBits = 6
	missing     = 1<<decimalBits - 1 // in place of the decimals: there is no text
	// spelled is what the column Decimals says when the column Spelling has the texts.
	spelled = -1
)

// decimalsOf returns the number that text says, and how many decimals it is written with. It
// returns false when these do not give text back.
func decimalsOf(text string) (value float32, decimals int, ok bool) {
	if text == "" {
		return float32(math.NaN()), missing, true
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil { // it is too large, or too small
		return float32(v), 0, false
	}
	if at := strings.IndexByte(text, '.'); at >= 0 {
		decimals = len(text) - at - 1
	}
	value = float32(v)
	if decimals >= missing {
		return value, 0, false
	}
	return value, decimals, spell(value, decimals) == text
}

// spell writes a number with so many decimals.
func spell(value float32, decimals int) string { return string(appendSpelt(nil, value, decimals)) }

// sixPlaces reports whether a fraction is as nearly all are: from 0 to 1, with six decimals.
func sixPlaces(value float32, decimals int) bool { return decimals == 6 && value >= 0 && value < 1 }

func appendSpelt(b []byte, value float32, decimals int) []byte {
	if sixPlaces(value, decimals) {
		n := uint32(float64(value)*1e6 + 0.5)
		one := n / 1e6 // 0.9999999 is so close to it
		n -= one * 1e6
		high, low := n/1000, n%1000
		return append(b, '0'+byte(one), '.',
			'0'+byte(high/100), '0'+byte(high/10%10), '0'+byte(high%10),
			'0'+byte(low/100), '0'+byte(low/10%10), '0'+byte(low%10))
	}
	if decimals == missing {
		return b
	}
	return strconv.AppendFloat(b, float64(value), 'f', decimals, 32)
}

// pack puts the decimals of a box's numbers into one.
func pack(decimals [numbers]int) int32 {
	packed := 0
	for i, d := range decimals {
		packed |= d << (i * decimalBits)
	}
	return int32(packed)
}

func unpack(packed int32) (decimals [numbers]int) {
	for i := range decimals {
		decimals[i] = int(packed>>(i*decimalBits)) & missing
	}
	return decimals
}

// plainDecimals are those of an official row: six for each coordinate, and a confidence of 1.
var plainDecimals = pack([numbers]int{6, 6, 6, 6, 0})
