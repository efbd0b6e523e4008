package openimages

import (
	"errors"
	"math"
	"strconv"
)

// Fraction is a number from 0 to 1 as its source wrote it: a coordinate as a part
// of the photo's width or height, or a confidence. The text is kept because it is
// what identifies a box; two spellings of one number stay two.
type Fraction string

// slack is how far outside 0..1 a coordinate may be. No official row at hand goes
// beyond, but files that went through float32 carry its rounding (V2 has
// 0.26458332, V6 0.9642005), which next to 1 is 6e-8.
const slack = 1e-6

var (
	errNotNumber   = errors.New("want a number from 0 to 1")
	errNotFraction = errors.New("want a fraction of the photo's side, from 0 to 1; this looks like pixels")
)

// ParseFraction checks that text is a decimal number from 0 to 1. Rounding noise
// of up to 1e-6 beyond either end is accepted.
func ParseFraction(text string) (Fraction, error) {
	return Fraction(text), checkFraction([]byte(text))
}

// Float64 returns the value, from 0 to 1. It is NaN for text that ParseFraction
// does not accept.
func (f Fraction) Float64() float64 {
	return fractionValue(f)
}

func fractionValue[T ~string | ~[]byte](text T) float64 {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return math.NaN()
	}
	return min(max(v, 0), 1)
}

// checkFraction is on the path of every row, wanted or not: it decides the usual
// forms, "0." and digits, "1." and zeros, without working out the number.
func checkFraction(b []byte) error {
	highest := byte('9') // digit behind the point
	switch {
	case len(b) == 0:
		return errMissing
	case b[0] == '1':
		highest = '0'
	case b[0] != '0':
		return checkUnusualFraction(b)
	}
	if len(b) == 1 {
		return nil
	}
	if b[1] != '.' {
		return checkUnusualFraction(b)
	}
	for _, c := range b[2:] {
		if c < '0' || c > highest {
			return checkUnusualFraction(b)
		}
	}
	return nil
}

func checkUnusualFraction(b []byte) error {
	for _, c := range b {
		// ParseFloat also reads hexadecimal, underscores, "inf" and "nan".
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return errNotNumber
		}
	}
	switch v, err := strconv.ParseFloat(string(b), 64); {
	case errors.Is(err, strconv.ErrSyntax):
		return errNotNumber
	case v < -slack || v > 1+slack:
		return errNotFraction
	}
	return nil
}
