package quilt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const lowerHex = "0123456789abcdef"

// AppendCanonical appends v in the form that the top hash covers: keys sorted by code
// point, no spaces, ASCII only. An absent value appends nothing.
func (v Value) AppendCanonical(dst []byte) []byte {
	switch v.kind {
	case String:
		return appendASCII(dst, v.text)
	case Array:
		dst = append(dst, '[')
		for i, item := range v.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.AppendCanonical(dst)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i, m := range sorted(v.members) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendASCII(dst, m.Key), ':')
			dst = m.Value.AppendCanonical(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.text...)
}

// sorted returns the members by key. Bytes of UTF-8, and of its generalised form,
// sort as code points do.
func sorted(members []Member) []Member {
	byKey := func(a, b Member) int { return strings.Compare(a.Key, b.Key) }
	if slices.IsSortedFunc(members, byKey) {
		return members
	}
	members = slices.Clone(members)
	slices.SortFunc(members, byKey)
	return members
}

// AppendJSON appends v in the form that a package file has: keys in their order, ", "
// and ": " between them, UTF-8. A string that is not UTF-8, such as a lone
// surrogate, is an error: there are no bytes for it, and quilt3 fails as well.
func (v Value) AppendJSON(dst []byte) ([]byte, error) {
	var err error
	switch v.kind {
	case String:
		return appendUTF8(dst, v.text)
	case Array:
		dst = append(dst, '[')
		for i, item := range v.items {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			if dst, err = item.AppendJSON(dst); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case Object:
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			if dst, err = appendUTF8(dst, m.Key); err != nil {
				return nil, err
			}
			if dst, err = m.Value.AppendJSON(append(dst, ": "...)); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	}
	return append(dst, v.text...), nil
}

// floatText writes f as Python's repr does: the shortest digits that read back as f,
// with an exponent below 1e-4 and from 1e16 on.
func floatText(f float64) string {
	text := strconv.FormatFloat(f, 'e', -1, 64)
	exp, err := strconv.Atoi(text[strings.IndexByte(text, 'e')+1:])
	if err == nil && (exp < -4 || exp >= 16) {
		return text
	}
	text = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func appendUTF8(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("encode json: string %+q is not UTF-8", s)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			dst = appendEscape(dst, rune(c))
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '"'), nil
}

func appendASCII(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == '"' || c == '\\' || c == 0x7f {
				dst = appendEscape(dst, rune(c))
			} else {
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			r, size = decodeSurrogate(s[i:])
		}
		i += size
		if r >= 0x10000 {
			r -= 0x10000
			dst = appendEscape(appendEscape(dst, 0xd800+r>>10), 0xdc00+r&0x3ff)
			continue
		}
		dst = appendEscape(dst, r)
	}
	return append(dst, '"')
}

// decodeSurrogate decodes the generalised UTF-8 form of a lone surrogate.
func decodeSurrogate(s string) (rune, int) {
	if len(s) >= 3 && s[0] == 0xed && s[1]&0xe0 == 0xa0 && s[2]&0xc0 == 0x80 {
		return 0xd000 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f), 3
	}
	return utf8.RuneError, 1
}

// appendEscape appends the escape of r, which is below 0x10000.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	case '\f':
		return append(dst, `\f`...)
	case '\b':
		return append(dst, `\b`...)
	}
	return append(dst, '\\', 'u', lowerHex[r>>12&0xf], lowerHex[r>>8&0xf], lowerHex[r>>4&0xf], lowerHex[r&0xf])
}
