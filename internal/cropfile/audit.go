package cropfile

import (
	"encoding/json"
	"fmt"
	"io"
)

// AuditFile says how many photos would have been in one set while others that show the same
// were in another.
const AuditFile = "audit.json"

// Audit is what audit.json holds. It is about the photos of which there are crops.
type Audit struct {
	Photos     int `json:"photos"`      // all of them
	Groups     int `json:"groups"`      // of two or more that show the same
	Duplicates int `json:"duplicates"`  // photos in those
	WouldCross int `json:"would_cross"` // groups that would be in several sets if each photo were for itself
	Cross      int `json:"cross"`       // groups that are in several sets
}

// WriteAudit writes audit.json.
func WriteAudit(w io.Writer, a Audit) error { return json.NewEncoder(w).Encode(a) }

// ReadAudit reads audit.json from src, which messages call file.
func ReadAudit(src io.Reader, file string) (Audit, error) {
	var a Audit
	if err := json.NewDecoder(src).Decode(&a); err != nil {
		return Audit{}, fmt.Errorf("read %s: %w", file, err)
	}
	return a, nil
}
