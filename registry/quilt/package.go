package quilt

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxRecord is the most bytes of one record of a package file, as in quilt3.
	MaxRecord = 1_000_000
	// maxEntries bounds what a hostile package file makes a reader keep in memory.
	maxEntries = 10_000_000
)

// Package is one revision of a package.
type Package struct {
	Header  Value   // an object: version, user_meta, workflow, message
	Dirs    []Dir   // metadata of directories, ordered by key
	Entries []Entry // the files, ordered by key
}

// Dir is the metadata of a directory. It is not part of the top hash.
type Dir struct {
	Key  string // without the slash at the end
	Meta Value
}

// Entry is one file of a package.
type Entry struct {
	Key         string // the logical key
	PhysicalKey string // a URI; not part of the top hash
	Meta        Value  // an object; the user's own metadata is its member user_meta

	size int64 // -1 where it is null
	hash Hash  // zero where it is null
	odd  *odd  // nil for almost every entry; a package has a million of them
}

// odd is the size and the hash of an entry as they were read, where they are not as
// NewEntry makes them: the top hash covers a size of 1.0, and unknown members of the hash.
type odd struct{ size, hash Value }

// NewHeader returns the header of a new revision. meta and workflow are left out when
// they are absent; an empty message is recorded as null, as quilt3 does.
func NewHeader(meta, workflow Value, message string) Value {
	members := []Member{{"version", StringValue("v0")}}
	if meta.Kind() != Absent {
		members = append(members, Member{"user_meta", meta})
	}
	if workflow.Kind() != Absent {
		members = append(members, Member{"workflow", workflow})
	}
	last := Member{"message", NullValue()}
	if message != "" {
		last.Value = StringValue(message)
	}
	return ObjectValue(append(members, last)...)
}

// NewEntry returns an entry for size bytes with the given hash at physical, a URI. An
// absent meta becomes an empty object.
func NewEntry(key, physical string, size int64, hash Hash, meta Value) Entry {
	if !meta.Truthy() {
		meta = ObjectValue()
	}
	return Entry{
		Key:         key,
		PhysicalKey: physical,
		Meta:        meta,
		size:        size,
		hash:        hash,
	}
}

// Size returns the size of the file in bytes, or -1 where the package does not tell.
func (e Entry) Size() int64 { return e.size }

// Hash returns the hash of the file; the zero Hash where the package does not tell.
func (e Entry) Hash() Hash { return e.hash }

// values returns the size and the hash as they stand in a package file.
func (e *Entry) values() (size, hash Value) {
	if e.odd != nil {
		return e.odd.size, e.odd.hash
	}
	return IntValue(e.size), ObjectValue(Member{"type", StringValue(e.hash.Type)}, Member{"value", StringValue(e.hash.Value)})
}

// setValues takes over the size and the hash of a package file.
func (e *Entry) setValues(size, hash Value) {
	e.size = -1
	if n, ok := size.Int64(); ok {
		e.size = n
	}
	e.hash = Hash{Type: hash.Get("type").Text(), Value: hash.Get("value").Text()}
	if e.hash.Type == SHA256Chunked {
		e.hash.Type = SHA256Chunked // one string for all entries
	}
	m := hash.Members()
	if size.Kind() != Int || len(m) != 2 || m[0].Key != "type" || m[1].Key != "value" {
		e.odd = &odd{size: size, hash: hash}
	}
}

// New returns a package of the entries, which it takes over and sorts. A key that may not
// be in a package, appears twice, or is a directory as well is an error.
func New(header Value, entries []Entry) (*Package, error) {
	p := &Package{Header: header, Entries: entries}
	for _, e := range p.Entries {
		if err := CheckKey(e.Key); err != nil {
			return nil, err
		}
	}
	if err := p.arrange(); err != nil {
		return nil, err
	}
	return p, nil
}

// Message returns what the revision is about; "" when that was not told.
func (p *Package) Message() string { return p.Header.Get("message").Text() }

// Meta returns the user's metadata of the package; absent when never set.
func (p *Package) Meta() Value { return p.Header.Get("user_meta") }

// Size returns the bytes of all files whose size is known.
func (p *Package) Size() int64 {
	var total int64
	for _, e := range p.Entries {
		total += max(e.Size(), 0)
	}
	return total
}

// Entry returns the entry with the given logical key.
func (p *Package) Entry(key string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(p.Entries, key, func(e Entry, key string) int { return CompareKeys(e.Key, key) })
	if !ok {
		return Entry{}, false
	}
	return p.Entries[i], true
}

// TopHash computes the name of the revision. An entry without size or hash is an
// error.
func (p *Package) TopHash() (TopHash, error) {
	sum := sha256.New()
	if err := p.hashInput(sum); err != nil {
		return TopHash{}, err
	}
	return TopHash(sum.Sum(nil)), nil
}

// hashInput writes the bytes that the top hash covers.
func (p *Package) hashInput(w io.Writer) error {
	buf := p.Header.AppendCanonical(nil)
	for i := range p.Entries {
		e := &p.Entries[i]
		size, hash := e.values()
		if size.kind == Null || hash.kind == Null {
			return fmt.Errorf("hash package: %q lacks its size or hash", e.Key)
		}
		buf = ObjectValue(
			Member{"hash", hash}, Member{"logical_key", StringValue(e.Key)}, Member{"meta", e.Meta}, Member{"size", size},
		).AppendCanonical(buf)
		if _, err := w.Write(buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	_, err := w.Write(buf)
	return err
}

// Encode writes the package file.
func (p *Package) Encode(w io.Writer) error {
	buf := bufio.NewWriter(w)
	if _, err := io.Copy(buf, p.Reader()); err != nil {
		return err
	}
	return buf.Flush()
}

// Reader returns the package file as something to read, which is made record by record: the
// file of a million entries needs no memory. The package must not change meanwhile.
func (p *Package) Reader() io.Reader { return &encoder{p: p, next: -1 - len(p.Dirs)} }

// encoder makes a package file.
type encoder struct {
	p    *Package
	next int    // entry; before the first one come the directories, and the header
	buf  []byte // of the present record
	left []byte // of buf, to be read
}

func (e *encoder) Read(data []byte) (int, error) {
	for len(e.left) == 0 {
		if e.next == len(e.p.Entries) {
			return 0, io.EOF
		}
		if err := e.record(); err != nil {
			return 0, err
		}
		e.next++
	}
	n := copy(data, e.left)
	e.left = e.left[n:]
	return n, nil
}

var errRecord = fmt.Errorf("record has more than %d bytes", MaxRecord)

// record makes the next record; of a directory without metadata none.
func (e *encoder) record() error {
	what, v := "header", e.p.Header
	dirs := e.next + len(e.p.Dirs)
	switch {
	case e.next >= 0:
		what, v = strconv.Quote(e.p.Entries[e.next].Key), e.p.Entries[e.next].record()
	case dirs >= 0:
		d := e.p.Dirs[dirs]
		if !d.Meta.Truthy() {
			return nil
		}
		what, v = strconv.Quote(d.Key), ObjectValue(Member{"logical_key", StringValue(d.Key + "/")}, Member{"meta", d.Meta})
	}
	buf, err := v.AppendJSON(e.buf[:0])
	if err == nil && len(buf) > MaxRecord {
		err = errRecord
	}
	if err != nil {
		return fmt.Errorf("encode package: %s: %w", what, err)
	}
	e.buf = append(buf, '\n')
	e.left = e.buf
	return nil
}

// record returns the entry as it stands in a package file.
func (e *Entry) record() Value {
	size, hash := e.values()
	physical := Value{kind: Array, items: []Value{StringValue(e.PhysicalKey)}}
	return ObjectValue(
		Member{"logical_key", StringValue(e.Key)}, Member{"physical_keys", physical},
		Member{"size", size}, Member{"hash", hash}, Member{"meta", e.Meta},
	)
}

// Decode reads a package file. Like quilt3 it takes any order of keys and entries,
// spaces, escapes and unknown members of entries, which it drops. Unlike quilt3 it
// refuses logical keys that lead out of a folder, and records above MaxRecord.
//
// It does not know the package's top hash: the caller compares.
func Decode(r io.Reader) (*Package, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), MaxRecord+len("\r\n"))
	lines.Split(scanRecord)
	p := &Package{}
	number := 0
	for lines.Scan() {
		number++
		if err := p.decodeRecord(lines.Bytes(), number == 1); err != nil {
			return nil, fmt.Errorf("decode package: line %d: %w", number, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("decode package: line %d: %w", number+1, errRecord)
	case err != nil:
		return nil, fmt.Errorf("decode package: %w", err)
	case number == 0:
		return nil, fmt.Errorf("decode package: no header: %w", io.ErrUnexpectedEOF)
	}
	if err := p.arrange(); err != nil {
		return nil, fmt.Errorf("decode package: %w", err)
	}
	return p, nil
}

// scanRecord splits at line feeds. Unlike bufio.ScanLines it yields a blank last line,
// which is an error.
func scanRecord(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (p *Package) decodeRecord(line []byte, first bool) error {
	if len(line) > MaxRecord+len("\r") {
		return errRecord
	}
	v, err := ParseValue(line)
	if err != nil {
		return err
	}
	if v.Kind() != Object {
		return errors.New("want an object")
	}
	if first {
		// Written by T4 before 2018-11-18, and not what it hashed to.
		p.Header = v.without("top_hash")
		return nil
	}
	if len(p.Entries)+len(p.Dirs) == maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	key := v.Get("logical_key")
	if key.Kind() != String {
		return errors.New("logical_key: want a string")
	}
	if !v.Get("physical_keys").Truthy() {
		return p.decodeDir(key.Text(), v)
	}
	return p.decodeEntry(key.Text(), v)
}

// decodeDir takes a record without a place of its bytes. quilt3 would silently drop
// such a record for a file; here that is an error.
func (p *Package) decodeDir(key string, v Value) error {
	dir, ok := strings.CutSuffix(key, "/")
	if !ok {
		return fmt.Errorf("%+q has no physical_keys", key)
	}
	if err := CheckKey(dir); err != nil {
		return err
	}
	meta := v.Get("meta")
	if meta.Kind() == Absent {
		return fmt.Errorf("%+q lacks meta", key)
	}
	p.Dirs = append(p.Dirs, Dir{Key: dir, Meta: meta})
	return nil
}

func (p *Package) decodeEntry(key string, v Value) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	e := Entry{Key: key, Meta: v.Get("meta")}
	size, hash := v.Get("size"), v.Get("hash")
	if size.kind == Absent || hash.kind == Absent || e.Meta.kind == Absent {
		return fmt.Errorf("%+q lacks size, hash or meta", key)
	}
	if n, ok := size.Int64(); size.kind != Null && (!ok || n < 0) {
		return fmt.Errorf("%+q: size: want a whole number", key)
	}
	if hash.kind != Null && (hash.Get("type").Kind() != String || hash.Get("value").Kind() != String) {
		return fmt.Errorf("%+q: hash: want type and value", key)
	}
	e.setValues(size, hash)
	if !e.Meta.Truthy() {
		e.Meta = ObjectValue()
	} else if e.Meta.Kind() != Object {
		return fmt.Errorf("%+q: meta: want an object", key)
	}
	places := v.Get("physical_keys").Items()
	if len(places) == 0 || places[0].Kind() != String {
		return fmt.Errorf("%+q: physical_keys: want a list of URIs", key)
	}
	e.PhysicalKey = places[0].Text()
	if _, err := ParsePhysicalKey(e.PhysicalKey); err != nil {
		return fmt.Errorf("%+q: %w", key, err)
	}
	p.Entries = append(p.Entries, e)
	return nil
}

// arrange sorts entries and directories and checks that no key is there twice, nor
// as a file and a directory.
func (p *Package) arrange() error {
	slices.SortFunc(p.Entries, func(a, b Entry) int { return CompareKeys(a.Key, b.Key) })
	for i := 1; i < len(p.Entries); i++ {
		before, key := p.Entries[i-1].Key, p.Entries[i].Key
		if before == key {
			return &KeyError{key, "is there twice"}
		}
		// The order by segments puts a directory's content right behind a file of its name.
		if strings.HasPrefix(key, before+"/") {
			return &KeyError{before, "is a file and a directory"}
		}
	}
	slices.SortStableFunc(p.Dirs, func(a, b Dir) int { return CompareKeys(a.Key, b.Key) })
	last := p.Dirs[:0]
	for i, d := range p.Dirs {
		if i+1 < len(p.Dirs) && p.Dirs[i+1].Key == d.Key {
			continue // of several records for one directory the last counts
		}
		if file, ok := p.fileAlong(d.Key); ok {
			return &KeyError{file, "is a file and a directory"}
		}
		last = append(last, d)
	}
	p.Dirs = last
	return nil
}

// fileAlong returns the file that a directory's path leads through.
func (p *Package) fileAlong(dir string) (string, bool) {
	for i := range len(dir) + 1 {
		if i == len(dir) || dir[i] == '/' {
			if _, ok := p.Entry(dir[:i]); ok {
				return dir[:i], true
			}
		}
	}
	return "", false
}
