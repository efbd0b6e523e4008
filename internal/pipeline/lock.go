package pipeline

import (
	"context"
)

// LockReport says what became of a lock.
type LockReport struct {
	Path    string
	Changed bool // whether the file was written
	Photos  int  // photos that are pinned
	Dead    int  // photos that no place has
}

// Lock pins everything that a build of the project needs, and writes the lock. It
// downloads what it pins, since nothing else tells its digest; the bytes stay in the
// store for the build.
func Lock(ctx context.Context, p *Project, o Options) (*LockReport, error) {
	o.Until, o.Repin = Download, true
	report := &LockReport{Path: p.LockPath}
	err := withSession(p, o, func(s *session) error {
		if _, err := s.build(ctx); err != nil {
			return err
		}
		report.Changed = s.lockChanged
		for _, photo := range s.lock.Photos {
			if photo.Dead != "" {
				report.Dead++
			} else {
				report.Photos++
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}
