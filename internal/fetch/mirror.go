package fetch

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mirror says that what stands below a URL prefix is read elsewhere.
type mirror struct {
	prefix string // scheme://host/path without a slash at the end
	base   string // what replaces the prefix: the same form, or a folder
	folder bool
}

// newMirrors checks a map from URL prefix to URL prefix or folder. Folders are
// relative to dir. The longest prefix comes first.
func newMirrors(m map[string]string, dir string) ([]mirror, error) {
	mirrors := make([]mirror, 0, len(m))
	for from, to := range m {
		prefix, err := mirrorPrefix(from)
		if err != nil {
			return nil, err
		}
		if !IsLocal(to) {
			base, err := mirrorPrefix(to)
			if err != nil {
				return nil, err
			}
			mirrors = append(mirrors, mirror{prefix: prefix, base: base})
			continue
		}
		folder, err := localPath(to, dir)
		if err != nil {
			return nil, fmt.Errorf("mirror of %s: %w", from, err)
		}
		mirrors = append(mirrors, mirror{prefix: prefix, base: folder, folder: true})
	}
	slices.SortFunc(mirrors, func(a, b mirror) int {
		return cmp.Or(cmp.Compare(len(b.prefix), len(a.prefix)), cmp.Compare(a.prefix, b.prefix))
	})
	for i := 1; i < len(mirrors); i++ {
		if mirrors[i].prefix == mirrors[i-1].prefix {
			return nil, fmt.Errorf("mirror of %s: given twice", mirrors[i].prefix)
		}
	}
	return mirrors, nil
}

func mirrorPrefix(raw string) (string, error) {
	u, err := parseURL(raw)
	if err != nil {
		return "", fmt.Errorf("mirror: %w", err)
	}
	if u.RawQuery != "" {
		return "", fmt.Errorf("mirror: %w: %s has a query", ErrURL, raw)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// place is where bytes are really read: an http(s) URL, or a file.
type place struct {
	url    string
	folder string // of the mirror that file is in; empty for a file named by the user
	file   string
}

// locate maps a URL through the mirrors. A prefix ends where a path segment ends:
// https://a.com/x is a prefix of https://a.com/x/y and of https://a.com/x?y, not of
// https://a.com/xy; nor is https://a.com one of https://a.com.example.
func locate(mirrors []mirror, u *url.URL) (place, error) {
	whole := u.String()
	names := []string{whole}
	if u.Scheme == "s3" {
		names = append(names, publicBuckets+strings.TrimPrefix(whole, "s3://"))
	}
	for _, m := range mirrors {
		rest, ok := m.cut(names)
		if !ok {
			continue
		}
		if !m.folder {
			return place{url: m.base + rest}, nil
		}
		file, err := mirrorFile(rest)
		return place{folder: m.base, file: file}, err
	}
	return place{url: whole}, nil
}

// Mirrored returns where a URL is read by the mirrors of a manifest, whose folders are relative to
// dir: another URL, the same where no mirror is for it, or, local, the path of a file or a folder.
func Mirrored(mirrors map[string]string, dir, raw string) (at string, local bool, err error) {
	all, err := newMirrors(mirrors, dir)
	if err != nil {
		return "", false, err
	}
	u, err := parseURL(raw)
	if err != nil {
		return "", false, err
	}
	p, err := locate(all, u)
	if err != nil || p.folder == "" {
		return p.url, false, err
	}
	return filepath.Join(p.folder, p.file), true, nil
}

// cut returns what follows the prefix in the first of the names that has it.
func (m mirror) cut(names []string) (rest string, ok bool) {
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, m.prefix)
		if ok && (rest == "" || rest[0] == '/' || rest[0] == '?') {
			return rest, true
		}
	}
	return "", false
}

// mirrorFile is the name, in a mirror folder, of what follows the prefix of a URL:
// decoded, with the query as part of the name, as wget and curl save it.
func mirrorFile(rest string) (string, error) {
	escaped, query, hasQuery := strings.Cut(rest, "?")
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrURL, err)
	}
	if hasQuery {
		name += "?" + query
	}
	return filepath.FromSlash(strings.TrimLeft(name, "/")), nil
}

// open opens the place's file, which must be a regular one: a pipe would block for
// ever. A mirror folder is opened as a root, so that neither a name nor a link in it
// leads out of it.
func (p place) open() (*os.File, error) {
	if p.folder == "" {
		return openRegular(os.Stat, os.Open, p.file)
	}
	root, err := os.OpenRoot(p.folder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMirror, err)
	}
	defer func() { _ = root.Close() }()
	if !filepath.IsLocal(p.file) {
		return nil, fs.ErrNotExist
	}
	return openRegular(root.Stat, root.Open, p.file)
}

func openRegular(stat func(string) (fs.FileInfo, error), open func(string) (*os.File, error), name string) (*os.File, error) {
	info, err := stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return open(name)
}

// parseURL reads an http(s) or s3 URL and gives it one spelling: lower-case scheme and
// host, no fragment, no password. A path with . or .. in it is refused, since what it
// names depends on who reads it.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "s3") || u.Hostname() == "" {
		return nil, fmt.Errorf("%w: %q is not http, https or s3 with a host", ErrURL, raw)
	}
	if u.User != nil {
		return nil, fmt.Errorf("%w: %s holds a user name", ErrURL, u.Redacted())
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, fmt.Errorf("%w: %q has %q in its path", ErrURL, raw, segment)
		}
	}
	u.Fragment, u.RawFragment, u.ForceQuery = "", "", false
	return u, nil
}

// isRemote reports whether raw is a URL that parseURL may read.
func isRemote(raw string) bool {
	scheme, _, ok := strings.Cut(raw, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "s3"))
}

// IsLocal reports whether raw is a path or a file:// URL, so that the user may change
// what it names at any time.
func IsLocal(raw string) bool {
	scheme, _, ok := strings.Cut(raw, "://")
	return !ok || strings.EqualFold(scheme, "file")
}

// LocalPath returns the absolute path of the file that raw names, which is a path or a
// file:// URL.
func (c *Client) LocalPath(raw string) (string, error) {
	name, err := localPath(raw, c.dir)
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

// localPath returns the path that a path or a file:// URL names, relative to dir.
func localPath(raw, dir string) (string, error) {
	if raw == "" {
		return "", fmt.Errorf("%w: empty", ErrURL)
	}
	name := raw
	if strings.Contains(raw, "://") {
		u, err := url.Parse(raw)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrURL, err)
		}
		if !strings.EqualFold(u.Scheme, "file") || (u.Host != "" && u.Host != "localhost") || u.Path == "" {
			return "", fmt.Errorf("%w: %q: want http, https, s3, file:///path or a path", ErrURL, raw)
		}
		name = filepath.FromSlash(u.Path)
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	return filepath.Join(dir, name), nil
}
