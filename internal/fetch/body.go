package fetch

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// stream is one answer: the bytes of a URL from an offset on.
type stream struct {
	body      io.ReadCloser
	end       func(bytes int64) // gives the request's turn back; nil for a file
	cause     func(error) error // why a read failed; nil for a file
	beat      func()            // called for every minProgress bytes; nil for a file
	since     int               // bytes since the last beat
	read      int64             // bytes
	origin    string            // the URL that answered, before mirrors
	offset    int64             // of the first byte
	size      int64             // of the whole content, -1 when unknown
	validator string            // names this state of the content in If-Range; may be empty
}

// openFile opens a file. Nothing is retried about files: what fails once fails again.
func openFile(p place, origin string) (*stream, error) {
	f, err := p.open()
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &stream{body: f, origin: origin, size: info.Size()}, nil
}

// accept reads the header of an answer. It returns where the answer redirects to, or
// nil when the content follows.
func (s *stream) accept(resp *http.Response, a ask, optOut []string) (next *url.URL, err error) {
	if directive := forbids(resp.Header, optOut); directive != "" && resp.StatusCode < http.StatusBadRequest {
		return nil, &OptOutError{Directive: directive}
	}
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		s.size = resp.ContentLength
	case code == http.StatusPartialContent && a.offset > 0:
		var ok bool
		if s.offset, s.size, ok = contentRange(resp.Header.Get("Content-Range")); !ok || s.offset != a.offset {
			return nil, errBadRange
		}
	case code == http.StatusRequestedRangeNotSatisfiable && a.offset > 0:
		return nil, errBadRange
	case code/100 == 3 && resp.Header.Get("Location") != "":
		location, err := resp.Location()
		if err != nil {
			return nil, fmt.Errorf("%w: redirect: %w", ErrURL, err)
		}
		if IsBucket(location.String()) {
			return nil, fmt.Errorf("%w: redirect to a bucket", ErrURL) // which would be read with the user's own rights
		}
		return parseURL(location.String())
	default:
		return nil, &StatusError{Code: code, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	s.validator = resp.Header.Get("ETag")
	if s.validator == "" || strings.HasPrefix(s.validator, "W/") {
		// A weak tag is no promise about bytes and is not allowed in If-Range.
		s.validator = resp.Header.Get("Last-Modified")
	}
	return nil, nil
}

// contentRange reads "bytes 5-9/10" as the offset 5 and the size 10; the size is -1
// where the header has "*".
func contentRange(header string) (offset, size int64, ok bool) {
	rest, ok := strings.CutPrefix(header, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, false
	}
	from, err1 := strconv.ParseUint(first, 10, 63)
	to, err2 := strconv.ParseUint(last, 10, 63)
	if err1 != nil || err2 != nil || to < from {
		return 0, 0, false
	}
	if total == "*" {
		return int64(from), -1, true
	}
	n, err := strconv.ParseUint(total, 10, 63)
	return int64(from), int64(n), err == nil && n > to
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.read += int64(n)
	if s.beat != nil {
		if s.since += n; s.since >= minProgress {
			s.since = 0
			s.beat()
		}
	}
	if err != nil && !errors.Is(err, io.EOF) && s.cause != nil {
		err = s.cause(err)
	}
	return n, err
}

func (s *stream) Close() error {
	err := s.body.Close()
	if s.end != nil {
		s.end(s.read)
	}
	return err
}

// Body is content that is being read. When an answer breaks off, it goes on reading
// another at the same offset.
type Body struct {
	name    string // as the caller gave it
	want    Want
	connect func(why error) error // sets stream, after why ended the last one; nil for a file
	stream  *stream               // nil when there is nothing to read from any more

	attempts int // so far

	url       string // that answered last, before mirrors
	size      int64  // as announced last, -1 when unknown
	offset    int64  // how far the content has been yielded
	validator string // of the answer that the bytes so far came from
	noRange   bool   // the server has mishandled a range
	seen      maphash.Hash
	sha256    hash.Hash // nil when no SHA-256 is wanted
	md5       hash.Hash // nil when no MD5 is wanted
	err       error     // how the content ended
}

func newBody(name string, want Want) *Body {
	b := &Body{name: name, want: want}
	if want.SHA256 != nil {
		b.sha256 = sha256.New()
	}
	if want.MD5 != nil {
		b.md5 = md5.New()
	}
	return b
}

// URL returns the URL that the bytes come from after all redirects, as servers name
// it, not as mirrors do; or the path.
func (b *Body) URL() string { return b.url }

// Attempts returns how often the bytes were asked for so far: once, unless there was trouble.
func (b *Body) Attempts() int { return b.attempts }

// Size returns the number of bytes that the server announced, or -1.
func (b *Body) Size() int64 { return b.size }

// Close ends the request.
func (b *Body) Close() error {
	if b.stream == nil {
		return nil
	}
	s := b.stream
	b.stream = nil
	b.fail(os.ErrClosed)
	return s.Close()
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.stream.Read(p)
		if n > 0 {
			// A reader that yields bytes with an error yields the error again.
			return n, b.took(p[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			b.err = b.complete()
		case err != nil:
			b.fail(b.resume(err))
		}
	}
	return 0, b.err
}

// fail ends the content with err, unless that is nil.
func (b *Body) fail(err error) {
	if err != nil && b.err == nil {
		b.err = b.error(err)
	}
}

func (b *Body) error(err error) error { return &Error{URL: b.name, Err: err, Attempts: b.attempts} }

// took notes bytes that are about to be yielded and refuses those that are too many.
func (b *Body) took(p []byte) error {
	b.offset += int64(len(p))
	switch {
	case b.want.Size > 0 && b.offset > b.want.Size:
		b.fail(&MismatchError{What: "size", Want: strconv.FormatInt(b.want.Size, 10), Got: "more"})
	case b.want.Limit > 0 && b.offset > b.want.Limit:
		b.fail(ErrTooLarge)
	}
	_, _ = b.seen.Write(p) // hashes never fail
	for _, h := range []hash.Hash{b.sha256, b.md5} {
		if h != nil {
			_, _ = h.Write(p)
		}
	}
	return b.err
}

// complete says how content ends that has come to its end: in io.EOF or a mismatch.
func (b *Body) complete() error {
	if b.want.Size > 0 && b.offset != b.want.Size {
		b.fail(&MismatchError{What: "size", Want: strconv.FormatInt(b.want.Size, 10), Got: strconv.FormatInt(b.offset, 10)})
	}
	b.compare("SHA-256", b.sha256, b.want.SHA256)
	b.compare("MD5", b.md5, b.want.MD5)
	if b.err != nil {
		return b.err
	}
	return io.EOF
}

func (b *Body) compare(what string, h hash.Hash, want []byte) {
	if h == nil {
		return
	}
	if got := h.Sum(nil); !bytes.Equal(got, want) {
		b.fail(&MismatchError{What: what, Want: hex.EncodeToString(want), Got: hex.EncodeToString(got)})
	}
}

// admit passes on the error that connecting ended in. It refuses, before the first byte, an
// answer that announces too many.
func (b *Body) admit(err error) error {
	if err != nil {
		return err
	}
	if b.want.Limit > 0 && b.size > b.want.Limit {
		return errors.Join(ErrTooLarge, b.Close())
	}
	return nil
}

// resume answers a read error: nil when another answer stands at the offset reached.
func (b *Body) resume(err error) error {
	_ = b.stream.Close()
	b.stream = nil
	if b.connect == nil {
		return err
	}
	return b.connect(&CutError{Offset: b.offset, Err: err})
}

// request returns what the next request asks for. A range of content that nothing
// identifies, neither the server nor a wanted digest, could be of other content than
// the bytes so far; then everything is asked for and compared.
func (b *Body) request() ask {
	identified := b.validator != "" || b.sha256 != nil || b.md5 != nil
	if b.noRange || !identified {
		return ask{}
	}
	return ask{offset: b.offset, ifRange: b.validator}
}

// join makes s the stream, at the offset reached. When s starts before it, the bytes
// up to there are read again and must be the same.
func (b *Body) join(s *stream) error {
	if skip := b.offset - s.offset; skip > 0 {
		var again maphash.Hash
		again.SetSeed(b.seen.Seed())
		if n, err := io.CopyN(&again, s, skip); err != nil {
			_ = s.Close()
			if errors.Is(err, io.EOF) {
				return ErrChanged
			}
			return &CutError{Offset: n, Err: err}
		}
		if again.Sum64() != b.seen.Sum64() {
			_ = s.Close()
			return ErrChanged
		}
	}
	b.stream, b.url, b.size, b.validator = s, s.origin, s.size, s.validator
	return nil
}
