package quilt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseValueRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "nul", "NaN", "Infinity", "-Infinity", "-", "01", "1.", ".5", "1e", "+1", "1e400",
		`"a`, `"\x"`, `"\u12"`, "\"a\nb\"", "\"\xff\"", "[1", "[1,]", "{", `{"a"}`, `{"a":}`, `{"a":1,}`, `{1:2}`, "1 2", "\ufeff1",
		strings.Repeat("9", maxDigits+1), strings.Repeat("[", maxDepth+2),
	} {
		if v, err := ParseValue([]byte(text)); err == nil {
			t.Errorf("ParseValue(%.20q) = %v, want an error", text, v)
		}
	}
}

func TestSurrogates(t *testing.T) {
	for in, want := range map[string]string{
		`"\ud83d\ude00"`:          `"\ud83d\ude00"`,
		`"\ud83dx"`:               `"\ud83dx"`,
		`"\ude00\ud83d"`:          `"\ude00\ud83d"`,
		`"\ud83d\ud83d\ude00"`:    `"\ud83d\ud83d\ude00"`,
		`{"\ue000":1,"\udc00":2}`: `{"\udc00":2,"\ue000":1}`,
	} {
		v, err := ParseValue([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(v.AppendCanonical(nil)); got != want {
			t.Errorf("canonical form of %s = %s, want %s", in, got, want)
		}
	}
}

func TestRepeatedKeys(t *testing.T) {
	var in, want strings.Builder
	for i := range 3 * smallObject {
		in.WriteString(`"` + strings.Repeat("k", i) + `":0,`)
		want.WriteString(`"` + strings.Repeat("k", i) + `": 1, `)
	}
	text := in.String()
	v, err := ParseValue([]byte("{" + text + strings.ReplaceAll(strings.TrimSuffix(text, ","), "0", "1") + "}"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("{"+strings.TrimSuffix(want.String(), ", ")+"}", string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestValueOf(t *testing.T) {
	v, err := ValueOf(struct {
		Z string         `json:"z"`
		A map[string]any `json:"a"`
	}{"<&>", map[string]any{"y": 1, "x": 1.5}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.AppendJSON(nil)
	if want := `{"z": "<&>", "a": {"x": 1.5, "y": 1}}`; err != nil || string(got) != want {
		t.Errorf("ValueOf = %s, %v, want %s", got, err, want)
	}
	var back struct{ A struct{ X float64 } }
	if err := v.Unmarshal(&back); err != nil || back.A.X != 1.5 {
		t.Errorf("Unmarshal = %v, %v", back, err)
	}
	if _, err := ValueOf(func() {}); err == nil {
		t.Error("ValueOf of a function succeeded")
	}
}

func TestTruthy(t *testing.T) {
	for text, want := range map[string]bool{
		"null": false, "false": false, "0": false, "-0.0": false, `""`: false, "[]": false, "{}": false,
		"true": true, "1": true, "0.5": true, `"0"`: true, "[0]": true, `{"a": 0}`: true, strings.Repeat("9", 400): true,
	} {
		v, err := ParseValue([]byte(text))
		if err != nil || v.Truthy() != want {
			t.Errorf("%.10s is %v, %v, want %v", text, v.Truthy(), err, want)
		}
	}
	if (Value{}).Truthy() {
		t.Error("an absent value is true")
	}
}

func TestAccessors(t *testing.T) {
	meta, err := ParseValue([]byte(`{"b": [1, 2.0, 2.5], "a": "x"}`))
	if err != nil {
		t.Fatal(err)
	}
	p := &Package{Header: NewHeader(meta, NullValue(), "m"), Entries: []Entry{NewEntry("a", "file:///a", 3, Hash{}, Value{}), NewEntry("b", "file:///b", 4, Hash{}, Value{})}}
	if p.Message() != "m" || p.Size() != 7 || !p.Meta().Equal(meta) || p.Header.Get("workflow").Kind() != Null {
		t.Errorf("header reads back as %q, %d bytes, %v", p.Message(), p.Size(), p.Meta())
	}
	if members := meta.Members(); len(members) != 2 || members[0].Key != "b" || members[1].Value.Text() != "x" {
		t.Errorf("members are %v", members)
	}
	for i, want := range []struct {
		n  int64
		ok bool
	}{{1, true}, {2, true}, {0, false}} {
		if n, ok := meta.Get("b").Items()[i].Int64(); n != want.n || ok != want.ok {
			t.Errorf("item %d is %d, %v", i, n, ok)
		}
	}
	if data, err := json.Marshal([]Value{{}, meta}); err != nil || string(data) != `[null,{"b":[1,2.0,2.5],"a":"x"}]` {
		t.Errorf("as JSON: %s, %v", data, err)
	}
}

func TestHeaderForms(t *testing.T) {
	empty := ObjectValue()
	for _, tc := range []struct {
		meta    Value
		message string
		want    string
	}{
		{Value{}, "", `{"version": "v0", "message": null}`},
		{NullValue(), "m", `{"version": "v0", "user_meta": null, "message": "m"}`},
		{empty, "m", `{"version": "v0", "user_meta": {}, "message": "m"}`},
	} {
		got, err := NewHeader(tc.meta, Value{}, tc.message).AppendJSON(nil)
		if err != nil || string(got) != tc.want {
			t.Errorf("NewHeader = %s, %v, want %s", got, err, tc.want)
		}
	}
}

func TestNewSortsAndChecks(t *testing.T) {
	entry := func(key string) Entry { return NewEntry(key, "file:///x", 1, Hash{SHA256, "x"}, Value{}) }
	entries := []Entry{entry("a.txt"), entry("a-b"), entry("a/c-d"), entry("a/c/d"), entry("B"), entry("a/b")}
	p, err := New(NewHeader(Value{}, Value{}, ""), entries)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range p.Entries {
		keys = append(keys, e.Key)
	}
	if diff := cmp.Diff([]string{"B", "a/b", "a/c/d", "a/c-d", "a-b", "a.txt"}, keys); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if &entries[0] != &p.Entries[0] {
		t.Error("New copied the entries")
	}
	if e, ok := p.Entry("a/c-d"); !ok || e.Key != "a/c-d" {
		t.Errorf("Entry = %v, %v", e.Key, ok)
	}
	if _, ok := p.Entry("a"); ok {
		t.Error("Entry found a directory")
	}
	for _, keys := range [][]string{{"a", "a"}, {"a", "a.b", "a/b"}, {"../a"}, {""}, {"a\x00b"}, {"\xff"}} {
		var entries []Entry
		for _, key := range keys {
			entries = append(entries, entry(key))
		}
		var fault *KeyError
		if _, err := New(Value{}, entries); !errors.As(err, &fault) {
			t.Errorf("New(%q) = %v, want a *KeyError", keys, err)
		}
	}
}

func TestCheckFileKey(t *testing.T) {
	for _, key := range []string{"a", "a/b c", "...", "null", "com10", "console.txt", "é", "ab:c", "10:30.txt", "COM", "auxiliary"} {
		if err := CheckFileKey(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{
		"../a", "/etc/a", "a//b", "a/../b", "a/", `..\a`, `a\b`, `\\host\share`, "C:/a", "c:a", "a/d:",
		"NUL", "nul.txt", "a/con", "Com1.tar.gz", "LPT¹", "aux ", "nul:x", "CONOUT$", "a\x00", "\xff",
	} {
		var fault *KeyError
		if err := CheckFileKey(key); !errors.As(err, &fault) {
			t.Errorf("CheckFileKey(%+q) = %v, want a *KeyError", key, err)
		}
	}
}

func TestDecodeDirs(t *testing.T) {
	const header = `{"version": "v0"}` + "\n"
	file := header + `{"logical_key": "b/", "meta": {"k": 1}}
{"logical_key": "a/c/", "meta": {}}
{"logical_key": "b/", "physical_keys": [], "meta": {"k": 2}}
{"logical_key": "a/", "meta": {"k": 3}}
`
	p, err := Decode(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := p.Encode(&got); err != nil {
		t.Fatal(err)
	}
	want := header + `{"logical_key": "a/", "meta": {"k": 3}}
{"logical_key": "b/", "meta": {"k": 2}}
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, record := range []string{
		`{"logical_key": "a", "meta": {}}`,
		`{"logical_key": "../", "meta": {}}`,
		`{"logical_key": "a/"}`,
		`{"logical_key": "a/b/", "meta": {}}` + "\n" + `{"logical_key": "a", "physical_keys": ["s3://b/a"], "size": 1, "hash": null, "meta": null}`,
	} {
		if _, err := Decode(strings.NewReader(header + record)); err == nil {
			t.Errorf("Decode took %s", record)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	entry := func(size, hash, meta, place string) string {
		return `{"logical_key": "a", "size": ` + size + `, "hash": ` + hash + `, "meta": ` + meta + `, "physical_keys": ` + place + `}`
	}
	const hash = `{"type": "SHA256", "value": "x"}`
	if _, err := Decode(strings.NewReader("{}\n" + entry("1", hash, "{}", `["s3://b/a"]`))); err != nil {
		t.Fatal(err)
	}
	for _, record := range []string{
		"[]", "1", `{"logical_key": 1}`, "",
		entry("-1", hash, "{}", `["s3://b/a"]`),
		entry("1.5", hash, "{}", `["s3://b/a"]`),
		entry(`"1"`, hash, "{}", `["s3://b/a"]`),
		entry("1"+strings.Repeat("0", 30), hash, "{}", `["s3://b/a"]`),
		entry("1", `"x"`, "{}", `["s3://b/a"]`),
		entry("1", `{"type": "SHA256"}`, "{}", `["s3://b/a"]`),
		entry("1", hash, `[1]`, `["s3://b/a"]`),
		entry("1", hash, "{}", `"s3://b/a"`),
		entry("1", hash, "{}", `[1]`),
		entry("1", hash, "{}", `["ftp://b/a"]`),
	} {
		if _, err := Decode(strings.NewReader("{}\n" + record + "\n")); err == nil {
			t.Errorf("Decode took %s", record)
		}
	}
}

func TestRecordLimit(t *testing.T) {
	fill := func(n int) string { return `{"message":"` + strings.Repeat("x", n-len(`{"message":""}`)) + `"}` }
	if _, err := Decode(strings.NewReader(fill(MaxRecord) + "\r\n")); err != nil {
		t.Errorf("record of %d bytes: %v", MaxRecord, err)
	}
	for _, n := range []int{MaxRecord + 2, 3 * MaxRecord} {
		if _, err := Decode(strings.NewReader(fill(n))); !errors.Is(err, errRecord) {
			t.Errorf("record of %d bytes: %v, want %v", n, err, errRecord)
		}
	}
	p := &Package{Header: NewHeader(Value{}, Value{}, strings.Repeat("x", MaxRecord))}
	if err := p.Encode(&bytes.Buffer{}); !errors.Is(err, errRecord) {
		t.Errorf("Encode: %v, want %v", err, errRecord)
	}
}

func TestTopHashNeedsSizeAndHash(t *testing.T) {
	for _, field := range []string{`"size": null, "hash": {"type": "SHA256", "value": "x"}`, `"size": 1, "hash": null`} {
		p, err := Decode(strings.NewReader("{}\n" + `{"logical_key": "a", "physical_keys": ["s3://b/a"], "meta": {}, ` + field + "}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if top, err := p.TopHash(); err == nil {
			t.Errorf("TopHash with %s = %v, want an error", field, top)
		}
	}
}

func TestLegacyTopHashField(t *testing.T) {
	plain, err := Decode(strings.NewReader(`{"version": "v0"}`))
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := Decode(strings.NewReader(`{"version": "v0", "top_hash": {"alg": "v0", "value": "x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if !legacy.Header.Equal(plain.Header) {
		t.Error("the header's top_hash was kept")
	}
}

func TestParseTopHash(t *testing.T) {
	const text = "2a5a67156ca9238c14d12042db51c5b52260fdd5511b61ea89b58929d6e1769b"
	top, err := ParseTopHash(text)
	if err != nil || top.String() != text || top.IsZero() {
		t.Errorf("ParseTopHash = %v, %v", top, err)
	}
	for _, bad := range []string{"", text[1:], strings.ToUpper(text), text + "\n", strings.Repeat("g", 64)} {
		if _, err := ParseTopHash(bad); err == nil {
			t.Errorf("ParseTopHash(%q) succeeded", bad)
		}
	}
}

func TestUnsupportedHash(t *testing.T) {
	var unsupported *UnsupportedHashError
	if _, err := NewHasher("md5", 1); !errors.As(err, &unsupported) || unsupported.Type != "md5" {
		t.Errorf("NewHasher = %v", err)
	}
}

func TestHashSum(t *testing.T) {
	h, _ := ChunkedFromSHA256([32]byte{1}, 5)
	if sum, ok := h.Sum(); !ok || chunked(sum[:]) != h {
		t.Errorf("Sum = %x, %v", sum, ok)
	}
	for _, bad := range []Hash{{SHA256, h.Value}, {SHA256Chunked, "x"}, {SHA256Chunked, h.Value[:40]}} {
		if _, ok := bad.Sum(); ok {
			t.Errorf("%v has a sum", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version": "v0", "message": null}` + "\n"))
	f.Add([]byte("{\"version\":\"v0\",\"message\":\"\\ud800\"}\r\n{\"logical_key\": \"a\", \"physical_keys\": [\"s3://b/a?versionId=x\"], \"size\": 1.0, \"hash\": {\"type\": \"SHA256\", \"value\": \"x\"}, \"meta\": {}}\n"))
	f.Add([]byte("{}\n" + `{"logical_key": "a/", "meta": {"k": 1e5}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, e := range p.Entries {
			if CheckKey(e.Key) != nil {
				t.Fatalf("key %q was let through", e.Key)
			}
		}
		var first bytes.Buffer
		if p.Encode(&first) != nil {
			return // a lone surrogate, or a record that grew above the limit
		}
		again, err := Decode(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatalf("does not read back: %v\n%s", err, first.Bytes())
		}
		want, wantErr := p.TopHash()
		if got, err := again.TopHash(); got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("top hash changed from %v (%v) to %v (%v)", want, wantErr, got, err)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"z": [1, -0, 1.5e300, "\ud83d\ude00\ud800"], "a": {"é": null, "e": true}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseValue(data)
		if err != nil {
			return
		}
		canonical := v.AppendCanonical(nil)
		if i := slices.IndexFunc(canonical, func(c byte) bool { return c < ' ' || c > '~' }); i >= 0 {
			t.Fatalf("byte %d is not printable: %q", i, canonical)
		}
		again, err := ParseValue(canonical)
		if err != nil {
			t.Fatalf("canonical form does not parse: %v: %s", err, canonical)
		}
		if got := again.AppendCanonical(nil); !bytes.Equal(got, canonical) {
			t.Fatalf("canonical form of %s is %s", canonical, got)
		}
		if text, err := v.AppendJSON(nil); err == nil {
			if again, err := ParseValue(text); err != nil || !again.Equal(v) {
				t.Fatalf("package form %s reads back as %v, %v", text, again, err)
			}
		}
	})
}

func FuzzPhysicalKey(f *testing.F) {
	f.Add("s3://bkt/a%20b+c.txt?versionId=x%2Fy%2Bz%3D%3D")
	f.Add("file:///tmp/a%20b")
	f.Add("file://localhost/%zz%2")
	f.Fuzz(func(t *testing.T, uri string) {
		k, err := ParsePhysicalKey(uri)
		if err != nil {
			return
		}
		if again, err := ParsePhysicalKey(k.String()); err != nil || again != k {
			t.Fatalf("%#v becomes %s and that %#v, %v", k, k, again, err)
		}
	})
}

// million is a package file of a million entries, made while it is read.
func million() *Package {
	p := &Package{Header: NewHeader(Value{}, Value{}, "large")}
	var sum [sha256.Size]byte
	for i := range 1_000_000 {
		binary.BigEndian.PutUint64(sum[:], uint64(i))
		hash, _ := ChunkedFromSHA256(sum, 9000)
		key := fmt.Sprintf("data/crops/Hamburger/%03d/%016x_%08x.jpg", i/1000, i, i)
		p.Entries = append(p.Entries, NewEntry(key, "s3://bucket/quilt/open_images/"+key+"?versionId=01J0000000000000000000000", 9000, hash, Value{}))
	}
	return p
}

// BenchmarkMillionEntries reads a package of a million entries and computes its top hash.
// It reports the memory that the package takes, and the bytes of its file.
func BenchmarkMillionEntries(b *testing.B) {
	var file bytes.Buffer
	if err := million().Encode(&file); err != nil {
		b.Fatal(err)
	}
	heap := func() float64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc)
	}
	before := heap()
	for b.Loop() {
		p, err := Decode(bytes.NewReader(file.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric((heap()-before)/float64(len(p.Entries)), "B/entry")
		b.StartTimer()
		if _, err := p.TopHash(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(file.Len())/float64(len(p.Entries)), "file-B/entry")
	}
}

func TestIgnorePatterns(t *testing.T) {
	for _, tc := range []struct {
		rule, key string
		want      bool
	}{
		{"a*c", "abc", true}, {"a*c", "a/b/c", true}, {"a*c", "abcd", false}, {"a*b*c", "axbxbxc", true}, {"*", "x", true},
		{"a?c", "a/c", true}, {"a?c", "ac", false}, {"[ab]", "b", true}, {"[ab]", "c", false}, {"[!ab]", "c", true}, {"[!ab]", "a", false},
		{"[a-c]x", "bx", true}, {"[c-a]x", "bx", false}, {"[]]", "]", true}, {"[!]]", "x", true}, {"[a", "[a", true}, {"[", "[", true},
		{"[a-]", "-", true}, {"ü", "ü", true}, {"?", "ü", true}, {"**/x", "x", true}, {"x", "deep/er/x", true}, {"x", "ax", false},
	} {
		if got := ParseIgnore(tc.rule+"\n").Match(tc.key, false); got != tc.want {
			t.Errorf("rule %q, key %q: %v, want %v", tc.rule, tc.key, got, tc.want)
		}
	}
}

// FuzzIgnore looks for rules that stop the program or take for ever, and wants a rule
// without special characters to fit its own text.
func FuzzIgnore(f *testing.F) {
	for _, rule := range []string{"*.txt\n.git/\n", "[!a-z]?*", "[", "a*a*a*a*b", "\r\n"} {
		f.Add(rule, "a/b.txt")
	}
	f.Fuzz(func(t *testing.T, rules, key string) {
		ignore := ParseIgnore(rules)
		if ignore.Match(key, false) && !ignore.Match(key, true) {
			t.Errorf("%q leaves out the file %q but not the folder", rules, key)
		}
		if utf8.ValidString(key) && key != "" && !strings.ContainsAny(key, "*?[\r\n") && !ParseIgnore(key).Match("x/"+key, false) {
			t.Errorf("rule %q does not fit its text", key)
		}
	})
}
