package fetch

import (
	"context"
	"crypto/md5" // as servers tell it; it protects nothing
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
)

// State is what a server tells of the content at a URL without sending it.
type State struct {
	Size int64  // bytes; -1 when it does not say
	MD5  []byte // raw sum; nil when it does not say
}

// errNotAsked says that a URL is not read from an HTTP server, which could tell of it.
var errNotAsked = errors.New("only HTTP servers can be asked")

// Ask asks once what is at a URL. Who gets an error, which is an *Error, or not all that there
// is to know, has to read the content.
func (c *Client) Ask(ctx context.Context, raw string) (State, error) {
	s, err := c.ask(ctx, raw)
	if err != nil {
		return State{}, &Error{URL: raw, Err: err, Attempts: 1}
	}
	return s, nil
}

func (c *Client) ask(ctx context.Context, raw string) (State, error) {
	u, err := parseURL(raw)
	if err != nil {
		return State{}, err
	}
	p, err := locate(c.mirrors, u)
	if err == nil && (p.url == "" || IsBucket(p.url)) {
		err = errNotAsked
	}
	if err != nil {
		return State{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.header, ErrTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url, nil)
	if err != nil {
		return State{}, err
	}
	ask{}.header(req.Header)
	req.Header.Set("User-Agent", c.userAgent)
	turn, err := c.limits.acquire(ctx, req.URL.Host)
	if err != nil {
		return State{}, err
	}
	defer turn.end(0)
	resp, err := c.http.Do(req)
	if err != nil {
		return State{}, cause(ctx, err)
	}
	if err := resp.Body.Close(); err != nil {
		return State{}, err
	}
	if resp.StatusCode != http.StatusOK { // a redirect, too, is no answer about content
		return State{}, &StatusError{Code: resp.StatusCode}
	}
	return State{Size: resp.ContentLength, MD5: toldMD5(resp.Header)}, nil
}

// toldMD5 finds a sum in a header: as Google's and Microsoft's storage tell it, or S3 in the
// tag of what was not uploaded in parts. A tag that only looks like a sum equals none.
func toldMD5(h http.Header) []byte {
	texts := []string{h.Get("Content-MD5")}
	for _, value := range h.Values("X-Goog-Hash") {
		for part := range strings.SplitSeq(value, ",") {
			if sum, ok := strings.CutPrefix(strings.TrimSpace(part), "md5="); ok {
				texts = append(texts, sum)
			}
		}
	}
	for _, text := range texts {
		if sum, err := base64.StdEncoding.DecodeString(text); err == nil && len(sum) == md5.Size {
			return sum
		}
	}
	if sum, err := hex.DecodeString(strings.Trim(h.Get("ETag"), `"`)); err == nil && len(sum) == md5.Size {
		return sum
	}
	return nil
}
