package registry

import (
	"fmt"
	"path"
	"strings"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// home is where a registry is: what the physical keys of its objects start with.
type home struct {
	bucket string // "" for another one
	url    string // of what a web server shows; "" for another one
	root   string // slash-separated absolute path of a folder
}

// place is where bytes lie in a store.
type place struct {
	key     string
	version string // "" for whatever is there
}

// String returns the URL of the registry.
func (h home) String() string {
	switch {
	case h.bucket != "":
		return "s3://" + h.bucket
	case h.url != "":
		return h.url
	}
	return quilt.PhysicalKey{Path: h.root}.String()
}

// physical returns the physical key of a place.
func (h home) physical(at place) string {
	if h.bucket != "" {
		return quilt.PhysicalKey{Bucket: h.bucket, Path: at.key, Version: at.version}.String()
	}
	return quilt.PhysicalKey{Path: strings.TrimSuffix(h.root, "/") + "/" + at.key}.String()
}

// inside returns the place that a physical key leads to, or an error when it is outside
// of the registry.
func (h home) inside(physical string) (place, error) {
	k, err := quilt.ParsePhysicalKey(physical)
	if err != nil {
		return place{}, err
	}
	key, ok := k.Path, k.Bucket == h.bucket
	switch {
	case h.url != "":
		// Which bucket a web server shows is not known. It is asked for nothing but what
		// lies below its URL.
		ok = k.Bucket != ""
	case h.bucket == "":
		var below bool
		key, below = strings.CutPrefix(k.Path, strings.TrimSuffix(h.root, "/")+"/")
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
