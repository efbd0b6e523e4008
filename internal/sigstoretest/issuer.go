package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// Issuer is an issuer of OpenID Connect: it says of everybody that they are who the test wants.
type Issuer struct {
	URL     string
	key     *ecdsa.PrivateKey
	waiting chan struct{} // closed once somebody is asked to enter a code
	asked   atomic.Bool
	entered atomic.Pointer[string] // the email address of who has
	nonce   atomic.Pointer[string] // of the browser that has asked
}

func newIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	i := &Issuer{key: key, waiting: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.describe)
	mux.HandleFunc("GET /keys", i.keys)
	mux.HandleFunc("GET /auth", i.authorize)
	mux.HandleFunc("POST /device", i.device)
	mux.HandleFunc("POST /token", i.token)
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

// Token is a token of who has an email address.
func (i *Issuer) Token(email string) string {
	now := time.Now()
	claims := map[string]any{
		"iss": i.URL, "sub": email, "aud": "sigstore", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"email": email, "email_verified": true,
	}
	if nonce := i.nonce.Load(); nonce != nil {
		claims["nonce"] = *nonce
	}
	return i.signed(claims)
}

// Waiting is closed once somebody is asked to enter a code in a browser.
func (i *Issuer) Waiting() <-chan struct{} { return i.waiting }

// Enter lets who has an email address be in front of the browser: to enter the code, and to be
// whom pages of the issuer are about.
func (i *Issuer) Enter(email string) { i.entered.Store(&email) }

func (i *Issuer) describe(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "token_endpoint": i.URL + "/token",
		"authorization_endpoint": i.URL + "/auth", "device_authorization_endpoint": i.URL + "/device",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"code_challenge_methods_supported":      []string{"S256"},
	})
}

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	point, err := i.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	half := len(point) / 2
	answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1", "x": encode(point[1 : 1+half]), "y": encode(point[1+half:]),
	}}})
}

// authorize sends a browser back to where it is from, with a code.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	back, err := url.Parse(r.FormValue("redirect_uri"))
	if err != nil || i.entered.Load() == nil {
		http.Error(w, "nobody is here", http.StatusForbidden)
		return
	}
	nonce := r.FormValue("nonce")
	i.nonce.Store(&nonce)
	back.RawQuery = url.Values{"code": {"code"}, "state": {r.FormValue("state")}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (i *Issuer) device(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"device_code": "device", "user_code": "HAM-EGG", "verification_uri": i.URL + "/enter", "verification_uri_complete": i.URL + "/enter?code=HAM-EGG",
		"expires_in": 300, "interval": 1,
	})
	if !i.asked.Swap(true) {
		close(i.waiting)
	}
}

func (i *Issuer) token(w http.ResponseWriter, _ *http.Request) {
	email := i.entered.Load()
	if email == nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": "authorization_pending"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": i.Token(*email)})
}

// signed is a JSON Web Token.
func (i *Issuer) signed(claims map[string]any) string {
	text := encode([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + encode(must(json.Marshal(claims)))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		panic(err) // of a key that was just made
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err) // of values that a test has written down
	}
	return text
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(must(json.Marshal(body))) // a client that is gone wants nothing
}
