package fetch

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMirrorBoundaries(t *testing.T) {
	mirrors, err := newMirrors(map[string]string{
		"https://a.com":     "http://proxy/a",
		"https://a.com/x/":  "http://proxy/x/",
		"https://a.com/x/y": "/srv/y",
	}, "/work")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, want string }{
		{"https://a.com", "http://proxy/a"},
		{"https://a.com/", "http://proxy/a/"},
		{"https://a.com/z", "http://proxy/a/z"},
		{"https://a.com/xy", "http://proxy/a/xy"},
		{"https://a.com/x", "http://proxy/x"},
		{"https://a.com/x?q=1", "http://proxy/x?q=1"},
		{"https://a.com/x/z%20z", "http://proxy/x/z%20z"},
		{"https://a.com/x/y/z%20z", "/srv/y:z z"},
		{"https://a.com/x/yz", "http://proxy/x/yz"},
		{"https://a.com.example/x", "https://a.com.example/x"},
		{"https://a.com:8080/x", "https://a.com:8080/x"},
		{"http://a.com/x", "http://a.com/x"},
	} {
		u, err := parseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		p, err := locate(mirrors, u)
		got := p.url
		if p.folder != "" {
			got = p.folder + ":" + p.file
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.url, got, err, tt.want)
		}
	}
	for from, to := range map[string]string{
		"./a": "./b", "https://a.com?x": "./b", "ftp://a.com": "./b", "https://a.com": "ftp://b", "https://b.com": "",
	} {
		if _, err := newMirrors(map[string]string{from: to}, "."); err == nil {
			t.Errorf("%q to %q: got no error", from, to)
		}
	}
	if _, err := newMirrors(map[string]string{"https://a.com": "x", "https://a.com/": "y"}, "."); err == nil {
		t.Error("one prefix twice: got no error")
	}
}

func FuzzMirror(f *testing.F) {
	for _, seed := range []string{
		"https://a.com/x/y", "https://a.com/x/%2e%2e/y", "https://a.com/xy", "https://a.com/x?../y", "https://a.com/x/%00",
		"https://a.com/x//etc/passwd", "https://a.com/x/%2Fetc", "https://A.com/X", "https://a.com.evil/x", "https://a.com/x%2fy",
	} {
		f.Add(seed)
	}
	mirrors, err := newMirrors(map[string]string{"https://a.com/x": "/srv/x", "https://a.com": "http://proxy/a"}, "/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseURL(raw)
		if err != nil {
			return
		}
		if again, err := parseURL(u.String()); err != nil || again.String() != u.String() {
			t.Errorf("%q: reads as %q, then as %v, %v", raw, u, again, err)
		}
		p, err := locate(mirrors, u)
		if err != nil {
			return
		}
		switch {
		case p.folder != "":
			if name := filepath.Clean(filepath.Join("/srv/x", p.file)); name != "/srv/x" && !strings.HasPrefix(name, "/srv/x/") {
				t.Errorf("%q: leads to %s", raw, name)
			}
		case strings.HasPrefix(p.url, "http://proxy/"):
			to, err := url.Parse(p.url)
			if err != nil || u.Host != "a.com" || !strings.HasPrefix(to.Path, "/a") {
				t.Errorf("%q: leads to %s", raw, p.url)
			}
		case p.url != u.String():
			t.Errorf("%q: leads to %s", raw, p.url)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "7", "-1", "99999999999999999999", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT", "Friday, 01-Jan-99 00:00:00 GMT"} {
		f.Add(seed, int64(1_445_412_480))
	}
	f.Fuzz(func(t *testing.T, header string, now int64) {
		if wait := retryAfter(header, time.Unix(now, 0)); wait < 0 || wait > maxRetryAfter {
			t.Errorf("%q: got %v", header, wait)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 5-9/10", "bytes 0-0/*", "bytes 9-5/10", "bytes 5-9/5", "bytes */10", "bytes 18446744073709551615-1/2", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		offset, size, ok := contentRange(header)
		if ok && (offset < 0 || (size >= 0 && offset >= size)) {
			t.Errorf("%q: got offset %d of %d", header, offset, size)
		}
	})
}
