package objects

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// Home is where a registry is: what the physical keys of its objects start with.
type Home struct {
	Bucket string // "" for another one
	URL    string // of what a web server shows; "" for another one
	Root   string // slash-separated absolute path of a folder
}

// place is where bytes lie in a store.
type place struct {
	key     string
	version string // "" for whatever is there
}

// String returns the URL of the registry.
func (h Home) String() string {
	switch {
	case h.Bucket != "":
		return "s3://" + h.Bucket
	case h.URL != "":
		return h.URL
	}
	return quilt.PhysicalKey{Path: h.Root}.String()
}

// physical returns the physical key of a place.
func (h Home) physical(at place) string {
	if h.Bucket != "" {
		return quilt.PhysicalKey{Bucket: h.Bucket, Path: at.key, Version: at.version}.String()
	}
	return quilt.PhysicalKey{Path: strings.TrimSuffix(h.Root, "/") + "/" + at.key}.String()
}

// inside returns the place that a physical key leads to, or an error when it is outside
// of the registry.
func (h Home) inside(physical string) (place, error) {
	k, err := quilt.ParsePhysicalKey(physical)
	if err != nil {
		return place{}, err
	}
	key, ok := k.Path, k.Bucket == h.Bucket
	switch {
	case h.URL != "":
		// Which bucket a web server shows is not known. It is asked for nothing but what
		// lies below its URL.
		ok = k.Bucket != ""
	case h.Bucket == "":
		var below bool
		key, below = strings.CutPrefix(k.Path, strings.TrimSuffix(h.Root, "/")+"/")
		ok = ok && below
	}
	if !ok || key == "" || path.Clean("/"+key) != "/"+key {
		return place{}, fmt.Errorf("its bytes are outside of the registry, at %s", physical)
	}
	if k.Version == "null" { // of a bucket that keeps no versions, as quilt3 writes it
		k.Version = ""
	}
	return place{key: key, version: k.Version}, nil
}

// Place returns the physical key of a blob, with its version where the store keeps those.
func (s *Store) Place(ctx context.Context, key string) (string, error) {
	at := place{key: key}
	versions, err := s.versions(ctx)
	if err == nil && versions != nil {
		var v blob.Version
		v, err = versions.StatVersion(ctx, key)
		at.version = v.ID
	}
	return s.Home.physical(at), err
}

// sumLen is the length of a key's last part: the hash of the bytes, in hexadecimal.
const sumLen = 64

// hashed returns where the bytes with a hash lie, and false for a hash that sent objects
// do not have.
func hashed(h quilt.Hash) (string, bool) {
	sum, ok := h.Sum()
	if !ok {
		return "", false
	}
	digits := hex.EncodeToString(sum[:])
	return Prefix + digits[:2] + "/" + digits, true
}

// sumOf returns the sum in the key of bytes that lie under their hash.
func sumOf(key string) (sum [sumLen / 2]byte, ok bool) {
	digits := key[strings.LastIndexByte(key, '/')+1:]
	if len(digits) != sumLen {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil
}
