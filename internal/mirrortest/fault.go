package mirrortest

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strconv"
	"time"
)

// Fault is one way to fail.
type Fault struct {
	name  string
	serve func(exchange)
}

// exchange is one request, and the answer that it would get.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	done    <-chan struct{} // closed when the test ends
	healthy func(http.ResponseWriter)
}

// Status answers with an HTTP status and a short text.
func Status(code int) Fault {
	return Fault{"status " + strconv.Itoa(code), func(e exchange) {
		http.Error(e.w, http.StatusText(code), code)
	}}
}

// RetryAfter answers with an HTTP status and a Retry-After header.
func RetryAfter(code int, value string) Fault {
	return Fault{"retry after " + value, func(e exchange) {
		e.w.Header().Set("Retry-After", value)
		http.Error(e.w, http.StatusText(code), code)
	}}
}

// Redirect answers with a redirect.
func Redirect(location string) Fault {
	return Fault{"redirect to " + location, func(e exchange) {
		http.Redirect(e.w, e.r, location, http.StatusFound)
	}}
}

// Body answers 200 with other bytes than those of the file.
func Body(contentType string, data []byte) Fault {
	return Fault{"body " + contentType, func(e exchange) {
		e.w.Header().Set("Content-Type", contentType)
		_, _ = e.w.Write(data) // the client may be gone
	}}
}

// HTML answers 200 with a page, as servers do that should answer 404.
func HTML() Fault {
	return Body("text/html; charset=utf-8", []byte("<!DOCTYPE html>\n<html><title>Not here</title></html>\n"))
}

// Cut breaks the connection after n bytes of the body; the header promises all of it.
func Cut(n int) Fault {
	return Fault{"cut after " + strconv.Itoa(n), func(e exchange) {
		e.healthy(&limitWriter{ResponseWriter: e.w, left: n, end: func() { panic(http.ErrAbortHandler) }})
	}}
}

// Stall stops in the middle of the body, after n bytes, and keeps the connection.
func Stall(n int) Fault {
	return Fault{"stall after " + strconv.Itoa(n), func(e exchange) {
		e.healthy(&limitWriter{ResponseWriter: e.w, left: n, end: e.hang})
	}}
}

// Hang never answers.
func Hang() Fault { return Fault{"hang", exchange.hang} }

// Slow sends the body in pieces of n bytes, with a pause before each.
func Slow(n int, pause time.Duration) Fault {
	return Fault{"slow", func(e exchange) {
		e.healthy(&slowWriter{exchange: e, ResponseWriter: e.w, n: n, pause: pause})
	}}
}

// NoRange answers a request for a range with the whole file.
func NoRange() Fault {
	return Fault{"no range", func(e exchange) {
		e.r.Header.Del("Range")
		e.healthy(e.w)
	}}
}

// hang waits until the client or the test gives up, and then breaks the connection.
func (e exchange) hang() {
	select {
	case <-e.r.Context().Done():
	case <-e.done:
	}
	panic(http.ErrAbortHandler)
}

// limitWriter passes on so many bytes and then calls end, which does not return.
type limitWriter struct {
	http.ResponseWriter
	left int
	end  func()
}

func (w *limitWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(w.left, len(p))])
	w.left -= n
	if w.left == 0 && err == nil {
		if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
			return n, err
		}
		w.end()
	}
	return n, err
}

// slowWriter passes bytes on piece by piece.
type slowWriter struct {
	http.ResponseWriter
	exchange exchange
	n        int
	pause    time.Duration
}

func (w *slowWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		select {
		case <-time.After(w.pause):
		case <-w.exchange.done:
			panic(http.ErrAbortHandler)
		}
		var n int
		n, err = w.ResponseWriter.Write(p[:min(w.n, len(p))])
		written, p = written+n, p[n:]
		if err == nil {
			err = http.NewResponseController(w.ResponseWriter).Flush()
		}
	}
	return written, err
}

// PlaceholderURL is where Flickr redirects requests for deleted photos.
const PlaceholderURL = "https://s.yimg.com/pw/images/en-us/photo_unavailable.png"

// Placeholder returns a picture that looks like what Flickr serves at PlaceholderURL:
// a small grey PNG that decodes without complaint.
func Placeholder() []byte {
	img := image.NewPaletted(image.Rect(0, 0, 500, 374), color.Palette{color.Gray{Y: 0xee}, color.Gray{Y: 0x99}})
	for x := 150; x < 350; x++ {
		img.SetColorIndex(x, 187, 1)
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		return nil // a bytes.Buffer never fails
	}
	return buf.Bytes()
}
