package https

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/sandwich-build/sandwich/registry/blob/retry"
)

// maxPage bounds the answer to a listing of a thousand keys of a thousand characters, each
// of which takes three when it is escaped.
const maxPage = 8 << 20

// page is what S3 answers to a listing, as far as it is of interest.
type page struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct {
		Key  string
		Size int64
	}
}

// errNoList is what a server says that is no bucket.
var errNoList = fmt.Errorf("the web server lists nothing, so name a revision by its whole hash, by a tag, or by nothing for the latest: %w", errors.ErrUnsupported)

// listPage asks for a part of a listing, as of S3.
func (s *Store) listPage(ctx context.Context, prefix, next string) (*page, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "encoding-type": {"url"}}
	if next != "" {
		query.Set("continuation-token", next)
	}
	fail := func(err error) error { return s.explain(ctx, "list", prefix, err) }
	if err := context.Cause(ctx); err != nil {
		return nil, fail(err)
	}
	var p *page
	err := s.policy.Do(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.String()+"/?"+query.Encode(), http.NoBody)
		if err != nil {
			return err
		}
		resp, err := s.follow(req)
		if err != nil {
			return err
		}
		p, err = readPage(resp)
		return errors.Join(err, resp.Body.Close())
	})
	if errors.Is(err, errNoList) {
		return nil, fmt.Errorf("list %s: %w", s.at(prefix), errNoList)
	}
	if err != nil {
		return nil, fail(err)
	}
	return p, nil
}

func readPage(resp *http.Response) (*page, error) {
	switch {
	case retry.Busy(resp.StatusCode):
		return nil, &Error{Status: resp.StatusCode, pause: retry.After(resp.Header)}
	case resp.StatusCode != http.StatusOK:
		return nil, errNoList
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, err
	}
	p := &page{}
	if err := xml.Unmarshal(data, p); err != nil {
		return nil, errNoList
	}
	return p, nil
}
