package ui

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain ✓ 中":          "plain ✓ 中",
		"\x1b[2Jgone":        `\x1b[2Jgone`,
		"a\r\nb\tc":          `a\r\nb\tc`,
		"\u009b31m":          `\u009b31m`,
		"gpj.\u202eexe":      `gpj.\u202eexe`,
		"zero\u200bwidth":    `zero\u200bwidth`,
		"line\u2028sep":      `line\u2028sep`,
		"bad\xff\xfe":        `bad\xff\xfe`,
		"the sign \ufffd is": "the sign \ufffd is",
		"del\x7f":            `del\x7f`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b]0;title\x07")
	f.Add("\xc2\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if !utf8.ValidString(got) || strings.IndexFunc(got, unsafe) >= 0 {
			t.Errorf("Printable(%q) = %q", s, got)
		}
		if again := Printable(got); again != got {
			t.Errorf("%q is not a fixed point: %q", got, again)
		}
	})
}

func TestCount(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -999: "-999", -1000: "-1,000",
	} {
		if got := Count(in); got != want {
			t.Errorf("Count(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for _, tc := range []struct {
		n          int
		noun, want string
	}{{0, "file", "0 files"}, {1, "file", "1 file"}, {1, "box", "1 box"}, {2, "box", "2 boxes"}, {12345, "photo", "12,345 photos"}} {
		if got := Plural(tc.n, tc.noun); got != tc.want {
			t.Errorf("Plural(%d, %q) = %q, want %q", tc.n, tc.noun, got, tc.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 45_600_000: "45.6 MB", 1 << 62: "4.6 EB",
	} {
		if got := Bytes(in); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, test := range []struct {
		rate        rate
		elapsed     time.Duration
		there       int64
		done, total int64
		want        string
	}{
		{rate{}, 500 * time.Millisecond, 0, 100, 200, ""},
		{rate{first: 10}, time.Minute, 0, 10, 200, ""},
		{rate{}, 10 * time.Second, 0, 5, 10, "0.5/s  ETA 10s"},
		{rate{}, 2 * time.Second, 0, 10_000, 0, "5,000/s"},
		{rate{first: 500}, 10 * time.Second, 0, 1500, 2500, "100/s  ETA 10s"},
		{rate{unit: "bytes"}, 2 * time.Second, 0, 3_000_000, 6_000_000, "1.5 MB/s  ETA 2s"},
		{rate{unit: "bytes"}, 2 * time.Second, 9_000_000, 12_000_000, 15_000_000, "1.5 MB/s  ETA 2s"}, // it goes on after 9 MB
	} {
		if got := test.rate.at(test.elapsed, test.done-test.there, test.done, test.total); got != test.want {
			t.Errorf("%+v after %s, %d of %d: %q, want %q", test.rate, test.elapsed, test.done, test.total, got, test.want)
		}
	}
}
