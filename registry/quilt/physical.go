package quilt

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// PhysicalKey says where the bytes of an entry are: an object of an S3 bucket, or a
// local file when Bucket is empty.
type PhysicalKey struct {
	Bucket  string // "" for a file
	Path    string // the object's key without a leading slash, or the absolute path of the file
	Version string // the object's version; "" when there is none
}

// String returns the URI of k as Python's urllib quotes it; net/url escapes less.
func (k PhysicalKey) String() string {
	if k.Bucket == "" {
		return "file://" + quote(k.Path, "/")
	}
	uri := "s3://" + k.Bucket + "/" + quote(k.Path, "/")
	if k.Version != "" {
		uri += "?versionId=" + strings.ReplaceAll(quote(k.Version, " "), " ", "+")
	}
	return uri
}

// ParsePhysicalKey parses the URI of an object (s3://bucket/key?versionId=id) or of a
// file (file:///path).
func ParsePhysicalKey(uri string) (PhysicalKey, error) {
	k, err := parsePhysicalKey(uri)
	if err != nil {
		return PhysicalKey{}, fmt.Errorf("parse physical key %+q: %w", uri, err)
	}
	return k, nil
}

func parsePhysicalKey(uri string) (PhysicalKey, error) {
	scheme, rest, ok := strings.Cut(uri, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "s3" && scheme != "file" {
		return PhysicalKey{}, errors.New("want the scheme s3 or file")
	}
	rest, absolute := strings.CutPrefix(rest, "//")
	if strings.Contains(rest, "#") {
		return PhysicalKey{}, errors.New("unexpected fragment")
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	host, path, hasPath := strings.Cut(rest, "/")
	if !absolute {
		host, path, hasPath = "", strings.TrimPrefix(rest, "/"), strings.HasPrefix(rest, "/")
	}
	path = unquote(path)
	if !utf8.ValidString(path) {
		return PhysicalKey{}, errors.New("path is not UTF-8")
	}
	if scheme == "file" {
		return fileKey(host, path, hasPath, hasQuery)
	}
	if host == "" {
		return PhysicalKey{}, errors.New("missing bucket")
	}
	version, err := parseVersion(query)
	return PhysicalKey{Bucket: host, Path: path, Version: version}, err
}

func fileKey(host, path string, hasPath, hasQuery bool) (PhysicalKey, error) {
	switch {
	case host != "" && host != "localhost":
		return PhysicalKey{}, errors.New("unexpected host of a file")
	case !hasPath:
		return PhysicalKey{}, errors.New("relative path of a file")
	case hasQuery:
		return PhysicalKey{}, errors.New("unexpected query")
	}
	return PhysicalKey{Path: "/" + path}, nil
}

func parseVersion(query string) (string, error) {
	if query == "" {
		return "", nil
	}
	version, ok := strings.CutPrefix(query, "versionId=")
	if !ok || strings.Contains(version, "&") {
		return "", errors.New("unexpected query: want versionId only")
	}
	version = unquote(strings.ReplaceAll(version, "+", " "))
	if !utf8.ValidString(version) {
		return "", errors.New("versionId is not UTF-8")
	}
	return version, nil
}

// quote escapes every byte but A-Z a-z 0-9 _ . - ~ and those in keep.
func quote(s, keep string) string {
	const upperHex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("_.-~", c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', upperHex[c>>4], upperHex[c&0xf]})
	}
	return b.String()
}

// unquote undoes quote. What looks like an escape but is none stays, as in Python.
func unquote(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, ok1 := hexDigit(s[i+1])
			low, ok2 := hexDigit(s[i+2])
			if ok1 && ok2 {
				b = append(b, high<<4|low)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
