package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func read(t *testing.T, c *Client, url string) (string, error) {
	t.Helper()
	body, err := c.Open(t.Context(), url, Want{})
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(body)
	return string(text), errors.Join(err, body.Close())
}

// TestHostAsksForLess halves what a host gets when it answers 429 or 503 or not in time,
// and nothing else does.
func TestHostAsksForLess(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter)
		want   int
	}{
		"429":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, firstPerHost / 2},
		"503":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, firstPerHost / 2},
		"silence": {func(http.ResponseWriter) { time.Sleep(time.Second) }, firstPerHost / 2},
		"500":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, firstPerHost},
		"404":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, firstPerHost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) == 1 {
					tt.answer(w)
				}
			}))
			defer server.Close()
			c, err := New(Options{Wait: time.Millisecond, Header: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := read(t, c, server.URL); err != nil && name != "404" {
				t.Error(err)
			}
			host := c.limits.hosts[strings.TrimPrefix(server.URL, "http://")]
			if got := host.pace.Limit(); got != tt.want || host.users != 0 {
				t.Errorf("the host gets %d requests at once, want %d; %d are counted as open", got, tt.want, host.users)
			}
		})
	}
}

// TestManyHosts: hosts that nobody uses are forgotten when there are too many.
func TestManyHosts(t *testing.T) {
	l := newLimiter(1, 1, 1)
	for i := range 3 * maxHosts {
		turn, err := l.acquire(t.Context(), string(rune('a'+i)))
		if err != nil {
			t.Fatal(err)
		}
		turn.end(0)
	}
	if len(l.hosts) > maxHosts {
		t.Errorf("%d hosts are remembered", len(l.hosts))
	}
	ctx, cancel := context.WithCancel(t.Context())
	turn, err := l.acquire(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := l.acquire(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	turn.end(0)
}

func TestOptOut(t *testing.T) {
	for _, tt := range []struct {
		tags []string
		want string
	}{
		{nil, ""},
		{[]string{"noai"}, "noai"},
		{[]string{"all", "none, NoImageAI "}, "noimageai"},
		{[]string{"noindex"}, ""}, // which was not asked for
		{[]string{"otherbot: noai"}, ""},
		{[]string{"Sandwich: nofollow, noai"}, "noai"},
		{[]string{"unavailable_after: 25 Jun 2010 15:00:00 PST"}, ""},
	} {
		header := http.Header{"X-Robots-Tag": tt.tags}
		if got := forbids(header, []string{"noai", "noimageai"}); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.tags, got, tt.want)
		}
		if got := forbids(header, nil); got != "" {
			t.Errorf("%q: got %q, and nobody asked", tt.tags, got)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Robots-Tag", "noai")
		_, _ = io.WriteString(w, "a photo")
	}))
	defer server.Close()
	for _, heed := range []bool{false, true} {
		o := Options{}
		if heed {
			o.OptOut = []string{"noai"}
		}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text, err := read(t, c, server.URL)
		_, refused := errors.AsType[*OptOutError](err)
		if refused != heed || !heed && text != "a photo" || heed && !Definite(err) {
			t.Errorf("heed %v: got %q, %v", heed, text, err)
		}
	}
}

func TestHTTPVersions(t *testing.T) {
	var major atomic.Int32
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { major.Store(int32(r.ProtoMajor)) })
	one := httptest.NewServer(handler)
	defer one.Close()
	two := httptest.NewUnstartedServer(handler)
	two.EnableHTTP2 = true
	two.StartTLS()
	defer two.Close()
	transport := newTransport(4)
	transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	transport.TLSClientConfig.RootCAs.AddCert(two.Certificate())
	c, err := New(Options{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for url, want := range map[string]int32{one.URL: 1, two.URL: 2} {
		if _, err := read(t, c, url); err != nil || major.Load() != want {
			t.Errorf("%s: got HTTP/%d, %v; want HTTP/%d", url, major.Load(), err, want)
		}
	}
}

// TestProxy fetches in a process of its own, since the variables are read once.
func TestProxy(t *testing.T) {
	const through = "SANDWICH_TEST_FETCH_THROUGH"
	if os.Getenv(through) != "" {
		c, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := read(t, c, "http://photos.test/1.jpg"); err != nil || text != "by proxy" {
			t.Errorf("got %q, %v", text, err)
		}
		return
	}
	var asked atomic.Pointer[url.URL]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL)
		_, _ = io.WriteString(w, "by proxy")
	}))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
	cmd.Env = append(os.Environ(), through+"=1", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if u := asked.Load(); u == nil || u.String() != "http://photos.test/1.jpg" {
		t.Errorf("the proxy was asked for %v", u)
	}
}

func FuzzOptOut(f *testing.F) {
	f.Add("sandwich: noai, x")
	f.Fuzz(func(t *testing.T, tag string) {
		if got := forbids(http.Header{"X-Robots-Tag": {tag}}, []string{"noai"}); got != "" && !strings.Contains(strings.ToLower(tag), got) {
			t.Errorf("%q: got %q", tag, got)
		}
	})
}
