package quilt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Kind is the sort of a JSON value.
type Kind int

// The kinds of a Value. Absent is the kind of the zero Value: no JSON at all, which
// in a package file differs from null.
const (
	Absent Kind = iota
	Null
	Bool
	Int
	Float
	String
	Array
	Object
)

// Value is an immutable JSON value that keeps what a top hash depends on and
// encoding/json loses: the order of an object's keys, integers of any size, the
// difference between 1 and 1.0, and lone surrogates. The zero Value is absent.
type Value struct {
	kind    Kind
	text    string // String: WTF-8, so that lone surrogates survive; numbers: as Python writes them; Bool: true or false
	items   []Value
	members []Member
}

// Member is one key and value of an object.
type Member struct {
	Key   string
	Value Value
}

// NullValue returns the JSON value null.
func NullValue() Value { return Value{kind: Null, text: "null"} }

// StringValue returns a JSON string.
func StringValue(s string) Value { return Value{kind: String, text: s} }

// IntValue returns a JSON integer.
func IntValue(n int64) Value { return Value{kind: Int, text: strconv.FormatInt(n, 10)} }

// ObjectValue returns an object with the members in the order given. Their keys
// must differ.
func ObjectValue(members ...Member) Value { return Value{kind: Object, members: members} }

// ValueOf returns v as encoding/json marshals it: a struct keeps the order of its
// fields, a map is sorted by key.
func ValueOf(v any) (Value, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return Value{}, fmt.Errorf("encode metadata: %w", err)
	}
	return ParseValue(buf.Bytes())
}

// Kind returns the kind of v.
func (v Value) Kind() Kind { return v.kind }

// Text returns the characters of a string, the digits of a number as the top hash
// has them, and "" for other kinds. A lone surrogate appears in its generalised
// UTF-8 form and makes the text invalid UTF-8.
func (v Value) Text() string {
	switch v.kind {
	case String, Int, Float:
		return v.text
	}
	return ""
}

// Int64 returns v as an integer, and false when v is no number, has a fraction or
// does not fit.
func (v Value) Int64() (int64, bool) {
	switch v.kind {
	case Int:
		n, err := strconv.ParseInt(v.text, 10, 64)
		return n, err == nil
	case Float:
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil || f < -(1<<53) || f > 1<<53 || f != float64(int64(f)) {
			return 0, false
		}
		return int64(f), true
	}
	return 0, false
}

// Get returns the member of an object with the given key; the zero Value when
// there is none, or v is no object.
func (v Value) Get(key string) Value {
	for _, m := range v.members {
		if m.Key == key {
			return m.Value
		}
	}
	return Value{}
}

// Members returns the members of an object in order, nil for other kinds. The
// caller must not change them.
func (v Value) Members() []Member { return v.members }

// Items returns the items of an array, nil for other kinds. The caller must not
// change them.
func (v Value) Items() []Value { return v.items }

// Truthy reports whether Python takes v as true: neither absent, null, false, zero,
// nor empty.
func (v Value) Truthy() bool {
	switch v.kind {
	case Bool:
		return v.text == "true"
	case Int, Float:
		f, err := strconv.ParseFloat(v.text, 64)
		return err != nil || f != 0
	case String:
		return v.text != ""
	case Array:
		return len(v.items) > 0
	case Object:
		return len(v.members) > 0
	}
	return false
}

// Equal reports whether v and w have the same canonical form. The order of keys does
// not matter.
func (v Value) Equal(w Value) bool {
	return v.kind == w.kind && bytes.Equal(v.AppendCanonical(nil), w.AppendCanonical(nil))
}

// Unmarshal stores v in the value that into points to, as encoding/json does.
func (v Value) Unmarshal(into any) error {
	data, err := v.AppendJSON(nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// MarshalJSON returns v as JSON; null when it is absent.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.kind == Absent {
		return []byte("null"), nil
	}
	return v.AppendJSON(nil)
}

// without returns an object that lacks key.
func (v Value) without(key string) Value {
	kept := make([]Member, 0, len(v.members))
	for _, m := range v.members {
		if m.Key != key {
			kept = append(kept, m)
		}
	}
	v.members = kept
	return v
}
