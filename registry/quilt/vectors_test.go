package quilt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/shared"
)

// vectorFile returns the path of a vector that the real quilt3 client made.
func vectorFile(t *testing.T, name ...string) string {
	t.Helper()
	return filepath.Join(append([]string{shared.Dir(t), "vectors", "quilt"}, name...)...)
}

func readVector(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(vectorFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestCanonicalVectors(t *testing.T) {
	var vectors []struct {
		Value    string `json:"value_json_ascii"`
		TopHash  string `json:"tophash_encoding"`
		Manifest string `json:"manifest_encoding_utf8_hex"`
	}
	readVector(t, "json_canonical.json", &vectors)
	for _, vec := range vectors {
		v, err := ParseValue([]byte(vec.Value))
		if err != nil {
			t.Errorf("ParseValue(%s): %v", vec.Value, err)
			continue
		}
		if got := string(v.AppendCanonical(nil)); got != vec.TopHash {
			t.Errorf("canonical form of %s = %s, want %s", vec.Value, got, vec.TopHash)
		}
		got, err := v.AppendJSON(nil)
		if want, _ := hex.DecodeString(vec.Manifest); err != nil || !bytes.Equal(got, want) {
			t.Errorf("package form of %s = %q, %v, want %q", vec.Value, got, err, want)
		}
	}
}

func TestNumberVectors(t *testing.T) {
	var vectors []struct {
		Text string `json:"json_text"`
		Want string `json:"reencoded"`
	}
	readVector(t, "json_numbers_roundtrip.json", &vectors)
	for _, vec := range vectors {
		v, err := ParseValue([]byte(vec.Text))
		if err != nil {
			t.Errorf("ParseValue(%s): %v", vec.Text, err)
		}
		if got := string(v.AppendCanonical(nil)); got != vec.Want {
			t.Errorf("canonical form of %s = %s, want %s", vec.Text, got, vec.Want)
		}
	}
}

func TestTopHashVectors(t *testing.T) {
	var vectors []struct {
		Name     string
		Manifest string
		Input    string `json:"hash_input"`
		TopHash  string `json:"top_hash"`
	}
	readVector(t, "top_hash.json", &vectors)
	for _, vec := range vectors {
		t.Run(vec.Name, func(t *testing.T) {
			checkTopHash(t, []byte(vec.Manifest), vec.Input, vec.TopHash)
		})
	}
}

func TestPackageVectors(t *testing.T) {
	folders, err := os.ReadDir(vectorFile(t, "packages"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		t.Run(folder.Name(), func(t *testing.T) {
			read := func(name string) []byte {
				data, err := os.ReadFile(vectorFile(t, "packages", folder.Name(), name))
				if err != nil {
					t.Fatal(err)
				}
				return data
			}
			file := read("manifest.jsonl")
			p := checkTopHash(t, file, string(read("hash_input")), string(read("top_hash")))
			var got bytes.Buffer
			if err := p.Encode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(file), got.String()); diff != "" {
				t.Errorf("encoded again (-want +got):\n%s", diff)
			}
			for _, e := range p.Entries {
				checkFile(t, e)
			}
		})
	}
}

// checkFile hashes the file that the entry was made from.
func checkFile(t *testing.T, e Entry) {
	t.Helper()
	place, err := ParsePhysicalKey(e.PhysicalKey)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel("/example", place.Path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(vectorFile(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	if got := hashOf(t, e.Hash().Type, data); got != e.Hash() {
		t.Errorf("hash of %s = %v, want %v", e.Key, got, e.Hash())
	}
}

func checkTopHash(t *testing.T, file []byte, input, want string) *Package {
	t.Helper()
	p, err := Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := p.hashInput(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(input, got.String()); diff != "" {
		t.Errorf("hash input (-want +got):\n%s", diff)
	}
	if top, err := p.TopHash(); err != nil || top.String() != want {
		t.Errorf("top hash = %v, %v, want %s", top, err, want)
	}
	return p
}

func TestToleranceVectors(t *testing.T) {
	var vectors []struct {
		Name        string
		Manifest    string
		Keys        []string
		TopHash     string `json:"top_hash"`
		Redumped    string
		RedumpError string `json:"redump_error"`
		Error       string
	}
	readVector(t, "manifest_tolerance.json", &vectors)
	// What quilt3 reads and this package refuses on purpose.
	refused := map[string]bool{"absolute logical key": true}
	for _, vec := range vectors {
		t.Run(vec.Name, func(t *testing.T) {
			p, err := Decode(bytes.NewReader([]byte(vec.Manifest)))
			if vec.Error != "" || refused[vec.Name] {
				if err == nil {
					t.Fatalf("Decode succeeded, quilt3 says %q", vec.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, e := range p.Entries {
				keys = append(keys, e.Key)
			}
			if diff := cmp.Diff(vec.Keys, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if top, err := p.TopHash(); err != nil || top.String() != vec.TopHash {
				t.Errorf("top hash = %v, %v, want %s", top, err, vec.TopHash)
			}
			var again bytes.Buffer
			err = p.Encode(&again)
			if (err != nil) != (vec.RedumpError != "") {
				t.Fatalf("Encode: %v, quilt3 says %q", err, vec.RedumpError)
			}
			if diff := cmp.Diff(vec.Redumped, again.String()); err == nil && diff != "" {
				t.Errorf("encoded again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChecksumVectors(t *testing.T) {
	var vectors struct {
		Files []struct {
			Size    int64
			Content []byte `json:"content_base64"`
			Plain   string `json:"SHA256"`
			Chunked string `json:"sha2-256-chunked"`
			CRC     string `json:"CRC64NVME"`
		}
		S3 []struct {
			Sum   []byte `json:"s3_full_object_sha256_b64"`
			Quilt string
		} `json:"s3_single_put_to_quilt"`
		Chunks []struct {
			Size  int64 `json:"file_size"`
			Chunk int64 `json:"chunksize"`
		} `json:"chunksize"`
	}
	readVector(t, "checksums.json", &vectors)
	for _, vec := range vectors.Files {
		data := vec.Content
		if data == nil {
			data = pattern(vec.Size)
		}
		for _, want := range []Hash{{SHA256, vec.Plain}, {SHA256Chunked, vec.Chunked}, {CRC64NVME, vec.CRC}} {
			if got := hashOf(t, want.Type, data); got != want {
				t.Errorf("hash of %d bytes = %v, want %v", len(data), got, want)
			}
		}
		sum, err := hex.DecodeString(vec.Plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ChunkedFromSHA256([32]byte(sum), vec.Size); ok != (vec.Size <= minChunk) || ok && got.Value != vec.Chunked {
			t.Errorf("ChunkedFromSHA256 of %d bytes = %v, %v, want %s", vec.Size, got, ok, vec.Chunked)
		}
	}
	for _, vec := range vectors.S3 {
		size := int64(1)
		if vec.Quilt == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" {
			size = 0
		}
		if got, ok := ChunkedFromSHA256([32]byte(vec.Sum), size); !ok || got.Value != vec.Quilt {
			t.Errorf("ChunkedFromSHA256(%x) = %v, %v, want %s", vec.Sum, got, ok, vec.Quilt)
		}
	}
	for _, vec := range vectors.Chunks {
		if got := ChunkSize(vec.Size); got != vec.Chunk {
			t.Errorf("ChunkSize(%d) = %d, want %d", vec.Size, got, vec.Chunk)
		}
	}
}

// pattern is the content that the checksum vectors describe by a formula.
func pattern(size int64) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(((i%251)*131 + 7) % 251)
	}
	return data
}

// hashOf hashes data in writes of an odd size, so that they cross chunks.
func hashOf(t *testing.T, kind string, data []byte) Hash {
	t.Helper()
	h, err := NewHasher(kind, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for part := range chunks(data, 1_000_003) {
		if n, err := h.Write(part); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	return h.Hash()
}

func chunks(data []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			n := min(size, len(data))
			if !yield(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}

func TestNameVectors(t *testing.T) {
	var vectors []struct {
		Name  string
		Valid bool
	}
	readVector(t, "package_names.json", &vectors)
	for _, vec := range vectors {
		if err := CheckName(vec.Name); (err == nil) != vec.Valid {
			t.Errorf("CheckName(%+q) = %v, want valid %v", vec.Name, err, vec.Valid)
		}
	}
}

func TestKeyVectors(t *testing.T) {
	var vectors []struct {
		Key   string
		Valid bool `json:"valid_validate_key"`
	}
	readVector(t, "logical_keys.json", &vectors)
	for _, vec := range vectors {
		if err := CheckKey(vec.Key); (err == nil) != vec.Valid {
			t.Errorf("CheckKey(%+q) = %v, want valid %v", vec.Key, err, vec.Valid)
		}
	}
}

func TestPhysicalKeyVectors(t *testing.T) {
	type place struct {
		Bucket  string
		Path    string
		Version string `json:"version_id"`
		URI     string
		URL     string
	}
	var vectors struct {
		ToString []place `json:"to_string"`
		FromURL  []place `json:"from_url"`
		Errors   []struct{ URL string }
	}
	readVector(t, "physical_keys.json", &vectors)
	for _, vec := range vectors.ToString {
		k := PhysicalKey{Bucket: vec.Bucket, Path: vec.Path, Version: vec.Version}
		if got := k.String(); got != vec.URI {
			t.Errorf("%#v.String() = %s, want %s", k, got, vec.URI)
		}
		if got, err := ParsePhysicalKey(vec.URI); err != nil || got != k {
			t.Errorf("ParsePhysicalKey(%s) = %#v, %v, want %#v", vec.URI, got, err, k)
		}
	}
	for _, vec := range vectors.FromURL {
		want := PhysicalKey{Bucket: vec.Bucket, Path: vec.Path, Version: vec.Version}
		if got, err := ParsePhysicalKey(vec.URL); err != nil || got != want {
			t.Errorf("ParsePhysicalKey(%s) = %#v, %v, want %#v", vec.URL, got, err, want)
		}
	}
	for _, vec := range vectors.Errors {
		if got, err := ParsePhysicalKey(vec.URL); err == nil {
			t.Errorf("ParsePhysicalKey(%s) = %#v, want an error", vec.URL, got)
		}
	}
}

// kept returns which files of a folder the rules leave.
func kept(rules Ignore, files []string) []string {
	left := []string{}
files:
	for _, file := range files {
		for i, c := range file {
			if c == '/' && rules.Match(file[:i], true) {
				continue files
			}
		}
		if !rules.Match(file, false) {
			left = append(left, file)
		}
	}
	slices.Sort(left)
	return left
}

func TestIgnoreVectors(t *testing.T) {
	var vectors []struct {
		Rules       string
		Files, Kept []string
	}
	readVector(t, "quiltignore.json", &vectors)
	for _, vec := range vectors {
		if diff := cmp.Diff(vec.Kept, kept(ParseIgnore(vec.Rules), append(vec.Files, IgnoreFile))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", vec.Rules, diff)
		}
	}
}
