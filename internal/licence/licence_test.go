package licence

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"https://creativecommons.org/licenses/by/2.0/":                "CC BY 2.0",
		"http://www.creativecommons.org/licenses/BY-NC-SA/2.0":        "CC BY-NC-SA 2.0",
		"https://creativecommons.org/licenses/by-nd/3.0/de/deed.de":   "CC BY-ND 3.0",
		"https://creativecommons.org/publicdomain/zero/1.0/legalcode": "CC0 1.0",
		"https://creativecommons.org/publicdomain/mark/1.0/":          "Public Domain Mark 1.0",
		"CC BY 2.0":                             "CC BY 2.0",
		"cc-by-sa-4.0":                          "CC BY-SA 4.0",
		" by_nc ":                               "CC BY-NC",
		"CC0":                                   "CC0",
		"CC0-1.0":                               "CC0 1.0",
		"public domain mark":                    "Public Domain Mark",
		"http://flickr.com/commons/usage/":      "flickr.com/commons/usage",
		"https://creativecommons.org/licenses/": "creativecommons.org/licenses",
	} {
		l, err := Parse(text)
		if err != nil || l.String() != want {
			t.Errorf("%q: got %q, %v; want %q", text, l, err, want)
		}
	}
	for _, text := range []string{"", "2.0", "MIT", "cc", "CC BY 2", "ftp://creativecommons.org/licenses/by/2.0/", "all rights reserved"} {
		if l, err := Parse(text); err == nil {
			t.Errorf("%q: got %q", text, l)
		}
	}
}

func TestCovers(t *testing.T) {
	parse := func(text string) Licence {
		l, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"CC BY", "https://creativecommons.org/licenses/by/2.0/", true},
		{"CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/", true},
		{"CC BY 4.0", "https://creativecommons.org/licenses/by/2.0/", false},
		{"CC BY", "CC BY-SA 2.0", false},
		{"http://a.com/terms", "https://www.a.com/terms/", true},
		{"http://a.com/terms", "https://a.com/", false},
	} {
		if got := parse(tt.a).Covers(parse(tt.b)); got != tt.want {
			t.Errorf("%s covers %s: got %v", tt.a, tt.b, got)
		}
	}
	if (Licence{}).Covers(Licence{}) {
		t.Error("no licence covers none")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("CC BY-SA 2.0")
	f.Add("https://creativecommons.org/licenses/by/2.0/")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil || l.url != "" {
			return
		}
		if again, err := Parse(l.String()); err != nil && !strings.ContainsAny(l.version, "/") && versioned.FindStringSubmatch("x-" + l.version)[2] != "" || err == nil && again != l {
			t.Errorf("%q is %q, which is %q, %v", text, l, again, err)
		}
	})
}
