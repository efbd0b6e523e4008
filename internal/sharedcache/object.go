package sharedcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// The keys of objects. The version is that of the format: one that changes gets another
// prefix, so that two versions of sandwich share a bucket without seeing each other.
const (
	version       = "v1/"
	resultsPrefix = version + "results/"
	tablesPrefix  = version + "tables/"
	packsPrefix   = version + "packs/"
	latestPrefix  = version + "latest/"
)

// spread is a key below a prefix. Folders of a file system want no millions of files.
func spread(prefix, sum string) string { return prefix + sum[:2] + "/" + sum[2:] }

func resultKey(action cas.Digest) string { return spread(resultsPrefix, action.Hex()) }
func tableKey(d cas.Digest) string       { return spread(tablesPrefix, d.Hex()) }
func packKey(p pack) string              { return spread(packsPrefix, hex.EncodeToString(p.name[:])) }
func latestKey(name string) string       { return spread(latestPrefix, cas.Sum([]byte(name)).Hex()) }

// entry is a result with what is needed to find its blobs.
type entry struct {
	Action digest `json:"action"`
	Result []byte `json:"result"`         // as cas.Result marshals itself
	Root   []byte `json:"root,omitempty"` // the root of the tree, unless it is large: a look-up is one request
	Table  digest `json:"table,omitzero"` // where its blobs are; zero if it has none

	result cas.Result
}

// maxRoot is the size up to which the root of a tree is part of the entry.
const maxRoot = 64 << 10

// maxEntry bounds an entry that is read. It holds the log of a stage.
const maxEntry = 16 << 20

var errEntry = errors.New("is not a result of a stage")

// newEntry makes the entry of a result.
func newEntry(action cas.Digest, r cas.Result, root []byte, table cas.Digest) (*entry, error) {
	text, err := r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if len(root) > maxRoot {
		root = nil
	}
	return &entry{Action: digest{action}, Result: text, Root: root, Table: digest{table}, result: r}, nil
}

// encode returns the text of an entry: a checksum in a line of its own, and JSON.
func (e *entry) encode() ([]byte, error) { return seal(e) }

// decodeEntry reads the entry of an action. One of another action is an error, as is one
// whose root is not that of its tree.
func decodeEntry(data []byte, action cas.Digest) (*entry, error) {
	e := new(entry)
	if err := unseal(data, e); err != nil {
		return nil, err
	}
	if err := e.result.UnmarshalBinary(e.Result); err != nil {
		return nil, fmt.Errorf("%w: %w", errEntry, err)
	}
	switch {
	case e.result.Tree.IsZero():
		return nil, fmt.Errorf("%w: it has no tree", errEntry)
	case e.Action.Digest != action:
		return nil, fmt.Errorf("%w: it is that of %s", errEntry, e.Action)
	case e.Root != nil && cas.Sum(e.Root) != e.result.Tree.Digest():
		return nil, fmt.Errorf("%w: its root is not that of its tree", errEntry)
	}
	return e, nil
}

// seal marshals v behind a checksum, which tells what was cut or damaged.
func seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return sealed(body), nil
}

func sealed(body []byte) []byte {
	return append(fmt.Appendf(nil, "%x\n", sha256.Sum256(body)), body...)
}

func unseal(data []byte, v any) error {
	sum, body, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != fmt.Sprintf("%x", sha256.Sum256(body)) {
		return fmt.Errorf("%w: wrong checksum", errEntry)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errEntry, err)
	}
	return nil
}

// digest is a digest as it stands in JSON: hex and size, as in the Remote Execution API.
type digest struct{ cas.Digest }

// MarshalText implements encoding.TextMarshaler.
func (d digest) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s/%d", d.Hex(), d.Size()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *digest) UnmarshalText(text []byte) error {
	sum, size, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err == nil {
		d.Digest, err = cas.NewDigest(sum, n)
	}
	return err
}

// pointer is the object that says which action a stage had last.
type pointer struct {
	Action digest `json:"action"`
}

// maxPointer bounds a pointer that is read.
const maxPointer = 1 << 10
