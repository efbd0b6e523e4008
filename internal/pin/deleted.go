package pin

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"path"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// Why a place has no photo. These texts go into locks, so they hold nothing that
// differs from run to run.
const (
	reasonDeleted = "deleted on Flickr"
	reasonJunk    = "a placeholder instead of the photo"
	reasonEmpty   = "empty"
	reasonNoURL   = "no URL"
)

// unavailable is the name of the picture that Flickr redirects requests for deleted
// photos to. It is served with status 200 and decodes like any other.
var unavailable = lazyregexp.New(`^photo_unavailable(_[a-z]+)?\.(png|gif|jpg)$`)

// isUnavailable reports whether a request ended at Flickr's placeholder.
func isUnavailable(finalURL string) bool {
	u, err := url.Parse(finalURL)
	return err == nil && unavailable.MatchString(path.Base(u.Path))
}

// placeholders are pictures that stand for photos that are gone, by MD5 or SHA-1, for
// servers and mirrors that serve them without a redirect.
var placeholders = map[string]string{
	"880a7a58e05d3e83797f27573bb6d35c":         reasonDeleted, // Flickr's PNG of 2,051 bytes
	"6a92790b1c2a301c6e7ddef645dca1f53ea97ac2": reasonDeleted, // Flickr's older one
	"596246739a83bb45e30e13437e0810d9":         reasonJunk,    // a warning sign
	"969e595182a947c7fdaaef4a34401760":         reasonJunk,    // a no-entry sign
	"af5db09e39ca35d8930b4e59962e09e5":         reasonJunk,    // a domain dealer's logo
}

// placeholder says what data is if it is a known placeholder, and "" otherwise.
func placeholder(data []byte) string {
	m, s := md5.Sum(data), sha1.Sum(data)
	if reason, ok := placeholders[hex.EncodeToString(m[:])]; ok {
		return reason
	}
	return placeholders[hex.EncodeToString(s[:])]
}

// notPhoto says why content that begins with head cannot be a photo, and "" when it
// may be one. Names and headers lie: only the first bytes count.
func notPhoto(head []byte) string {
	for _, tiff := range []string{"II*\x00", "MM\x00*"} {
		if bytes.HasPrefix(head, []byte(tiff)) {
			return ""
		}
	}
	kind, _, err := mime.ParseMediaType(http.DetectContentType(head))
	switch {
	case err != nil:
		return "not a photo"
	case kind == "image/jpeg", kind == "image/png", kind == "image/gif", kind == "image/webp", kind == "image/bmp":
		return ""
	}
	return "not a photo: " + kind
}
