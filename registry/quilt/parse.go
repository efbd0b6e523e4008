package quilt

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	// maxDepth bounds the nesting of a value, well inside of what Python's own
	// recursion limit of 1000 lets quilt3 read.
	maxDepth = 512
	// maxDigits is the longest integer that Python converts from text.
	maxDigits = 4300
	// smallObject is the number of members up to which a search from the front is
	// cheaper than a map.
	smallObject = 16
)

// ParseValue parses one JSON value as Python's json module does: of equal keys the
// last value wins at the place of the first, and a lone surrogate is kept. Unlike
// Python it refuses NaN, Infinity and numbers that overflow, since no other reader
// takes what they become.
func ParseValue(data []byte) (Value, error) {
	if !utf8.Valid(data) {
		return Value{}, fmt.Errorf("parse json: not UTF-8")
	}
	p := parser{data: data}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	if p.space(); p.pos < len(p.data) {
		return Value{}, p.fault("more than one value")
	}
	return v, nil
}

// parser walks over the text of one value.
type parser struct {
	data []byte
	pos  int
}

func (p *parser) fault(what string) error {
	return fmt.Errorf("parse json: byte %d: %s", p.pos, what)
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// accept steps over c, if it is next.
func (p *parser) accept(c byte) bool {
	if p.pos < len(p.data) && p.data[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) value(depth int) (Value, error) {
	p.space()
	if p.pos == len(p.data) {
		return Value{}, p.fault("want a value, got the end")
	}
	if depth > maxDepth {
		return Value{}, p.fault("nested too deeply")
	}
	switch c := p.data[p.pos]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, err := p.string()
		return Value{kind: String, text: s}, err
	case c == '-' || isDigit(c):
		return p.number()
	}
	for _, word := range []struct {
		text string
		kind Kind
	}{{"null", Null}, {"true", Bool}, {"false", Bool}} {
		if bytes.HasPrefix(p.data[p.pos:], []byte(word.text)) {
			p.pos += len(word.text)
			return Value{kind: word.kind, text: word.text}, nil
		}
	}
	return Value{}, p.fault("want a value")
}

func (p *parser) array(depth int) (Value, error) {
	v := Value{kind: Array}
	p.pos++
	if p.space(); p.accept(']') {
		return v, nil
	}
	for {
		item, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		v.items = append(v.items, item)
		p.space()
		if p.accept(']') {
			return v, nil
		}
		if !p.accept(',') {
			return Value{}, p.fault("want , or ]")
		}
	}
}

func (p *parser) object(depth int) (Value, error) {
	var members memberList
	p.pos++
	if p.space(); p.accept('}') {
		return Value{kind: Object}, nil
	}
	for {
		p.space()
		if p.pos == len(p.data) || p.data[p.pos] != '"' {
			return Value{}, p.fault("want a key")
		}
		key, err := p.string()
		if err != nil {
			return Value{}, err
		}
		if p.space(); !p.accept(':') {
			return Value{}, p.fault("want :")
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		members.set(key, item)
		p.space()
		if p.accept('}') {
			return Value{kind: Object, members: members.list}, nil
		}
		if !p.accept(',') {
			return Value{}, p.fault("want , or }")
		}
	}
}

// memberList collects the members of an object.
type memberList struct {
	list  []Member
	index map[string]int // nil while the list is small
}

func (m *memberList) set(key string, v Value) {
	if i := m.find(key); i >= 0 {
		m.list[i].Value = v
		return
	}
	if m.index != nil {
		m.index[key] = len(m.list)
	}
	m.list = append(m.list, Member{Key: key, Value: v})
	if m.index == nil && len(m.list) > smallObject {
		m.index = make(map[string]int, 2*len(m.list))
		for i, member := range m.list {
			m.index[member.Key] = i
		}
	}
}

func (m *memberList) find(key string) int {
	if m.index != nil {
		if i, ok := m.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range m.list {
		if m.list[i].Key == key {
			return i
		}
	}
	return -1
}

// number parses a number and keeps it as Python would write it again.
func (p *parser) number() (Value, error) {
	start := p.pos
	p.accept('-')
	if !p.accept('0') && !p.digits() {
		return Value{}, p.fault("want a digit")
	}
	kind := Int
	if p.accept('.') {
		kind = Float
		if !p.digits() {
			return Value{}, p.fault("want a digit")
		}
	}
	if p.accept('e') || p.accept('E') {
		kind = Float
		if !p.accept('+') {
			p.accept('-')
		}
		if !p.digits() {
			return Value{}, p.fault("want a digit")
		}
	}
	text := string(p.data[start:p.pos])
	if kind == Int {
		if len(text) > maxDigits {
			return Value{}, p.fault("integer has too many digits")
		}
		if text == "-0" {
			text = "0"
		}
		return Value{kind: Int, text: text}, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return Value{}, p.fault("number out of range")
	}
	return Value{kind: Float, text: floatText(f)}, nil
}

func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.data) && isDigit(p.data[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// string parses a string; the opening quote is next.
func (p *parser) string() (string, error) {
	p.pos++
	start := p.pos
	for p.pos < len(p.data) && p.data[p.pos] != '"' && p.data[p.pos] != '\\' && p.data[p.pos] >= ' ' {
		p.pos++
	}
	if p.pos < len(p.data) && p.data[p.pos] == '"' {
		s := string(p.data[start:p.pos])
		p.pos++
		return s, nil
	}
	return p.escaped(append([]byte(nil), p.data[start:p.pos]...))
}

// escaped parses the rest of a string that holds an escape; text is what came
// before.
func (p *parser) escaped(text []byte) (string, error) {
	for p.pos < len(p.data) {
		c := p.data[p.pos]
		p.pos++
		switch {
		case c == '"':
			return string(text), nil
		case c < ' ':
			return "", p.fault("control character in a string")
		case c != '\\':
			text = append(text, c)
		default:
			var err error
			if text, err = p.escape(text); err != nil {
				return "", err
			}
		}
	}
	return "", p.fault("string does not end")
}

// escape parses what follows a backslash and appends what it stands for.
func (p *parser) escape(text []byte) ([]byte, error) {
	if p.pos == len(p.data) {
		return nil, p.fault("string does not end")
	}
	c := p.data[p.pos]
	p.pos++
	switch c {
	case '"', '\\', '/':
		return append(text, c), nil
	case 'b':
		return append(text, '\b'), nil
	case 'f':
		return append(text, '\f'), nil
	case 'n':
		return append(text, '\n'), nil
	case 'r':
		return append(text, '\r'), nil
	case 't':
		return append(text, '\t'), nil
	case 'u':
		return p.unicode(text)
	}
	return nil, p.fault("unknown escape")
}

// unicode parses the digits of a \u escape, with the second half of a surrogate pair
// where one follows.
func (p *parser) unicode(text []byte) ([]byte, error) {
	r, ok := p.hex4(p.pos)
	if !ok {
		return nil, p.fault("want four hexadecimal digits")
	}
	p.pos += 4
	if isHigh(r) && bytes.HasPrefix(p.data[p.pos:], []byte(`\u`)) {
		if low, ok := p.hex4(p.pos + 2); ok && isLow(low) {
			p.pos += 6
			return utf8.AppendRune(text, 0x10000+(r-0xd800)<<10+(low-0xdc00)), nil
		}
	}
	if isHigh(r) || isLow(r) {
		// A lone surrogate: UTF-8 forbids it, so it is kept in the generalised form
		// (WTF-8), which sorts by code point as well.
		return append(text, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f), nil
	}
	return utf8.AppendRune(text, r), nil
}

func (p *parser) hex4(at int) (rune, bool) {
	if at+4 > len(p.data) {
		return 0, false
	}
	var r rune
	for _, c := range p.data[at : at+4] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func isHigh(r rune) bool { return 0xd800 <= r && r <= 0xdbff }
func isLow(r rune) bool  { return 0xdc00 <= r && r <= 0xdfff }
