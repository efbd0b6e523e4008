package registry

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

const uriScheme = "quilt+s3://"

// URI is what a link of Quilt's catalog names: quilt+s3://bucket#package=ns/name@hash, or
// with :tag, and with &path= for a part of the package.
type URI struct {
	Registry string // s3://bucket
	Ref      Ref
	Path     string // "" for the whole package
}

// IsURI reports whether s is to be parsed by ParseURI.
func IsURI(s string) bool { return strings.HasPrefix(s, "quilt+") }

// ParseURI parses a link. Other members of its fragment are ignored, as Quilt does; but
// unlike the catalog, which decodes the path twice, a percent sign in it may be encoded.
func ParseURI(s string) (URI, error) {
	u, err := parseURI(s)
	if err != nil {
		return URI{}, fmt.Errorf("parse %+q: %w", s, err)
	}
	return u, nil
}

func parseURI(s string) (URI, error) {
	rest, ok := strings.CutPrefix(s, uriScheme)
	if !ok {
		return URI{}, fmt.Errorf("want %sbucket#package=namespace/name", uriScheme)
	}
	bucket, fragment, _ := strings.Cut(rest, "#")
	if strings.ContainsAny(bucket, "/?") {
		return URI{}, fmt.Errorf("a registry is a whole bucket: want nothing behind its name")
	}
	members, err := url.ParseQuery(fragment)
	if err != nil {
		return URI{}, err
	}
	name, err := single(members, "package")
	if err != nil {
		return URI{}, err
	}
	if name == "" || bucket == "" {
		return URI{}, fmt.Errorf("want %sbucket#package=namespace/name", uriScheme)
	}
	u := URI{Registry: "s3://" + strings.ToLower(bucket)}
	if u.Ref, err = parseLinked(name); err != nil {
		return URI{}, err
	}
	if u.Path, err = single(members, "path"); err != nil {
		return URI{}, err
	}
	if u.Path = strings.TrimSuffix(u.Path, "/"); u.Path != "" {
		err = quilt.CheckKey(u.Path)
	}
	return u, err
}

// single returns the value of a member that may be there once.
func single(members url.Values, key string) (string, error) {
	values := members[key]
	switch {
	case len(values) > 1:
		return "", fmt.Errorf("%s is given more than once", key)
	case len(values) == 0:
		return "", nil
	case !utf8.ValidString(values[0]):
		return "", fmt.Errorf("%s is not UTF-8", key)
	}
	return values[0], nil
}

// parseLinked parses the reference of a link, in which a hash may be too short to be
// looked up.
func parseLinked(s string) (Ref, error) {
	name, hash, hashed := strings.Cut(s, "@")
	if hashed && len(hash) > 0 && len(hash) < minPrefix && quilt.IsHex(hash) {
		return Ref{Name: name, Hash: hash}, quilt.CheckName(name)
	}
	return ParseRef(s)
}
