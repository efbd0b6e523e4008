package pipeline

import (
	"context"

	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
)

// Remains are what a package holds, or tells, of that which it was built from.
type Remains struct {
	Code cas.Tree // the user's sources, in place of the git work tree that the manifest names; the zero Tree for none
	// Metadata are the files that the stage metadata read. They stand for what a data set in a
	// form of its own became, where that is not to be had any more.
	Metadata []metadata.File
}

// Rebuild runs the stages of a package's project and returns the revision that they come
// to, which is not published; an empty one when the options end the build before it. What the
// lock pins is all that is asked of the world, by digest.
func Rebuild(ctx context.Context, p *Project, o Options, remains Remains) (*Outcome, registry.Revision, error) {
	o.Locked, o.hold, o.rebuild = true, true, &remains
	var outcome *Outcome
	var rev registry.Revision
	err := withSession(p, o, func(s *session) (err error) {
		if outcome, err = s.build(ctx); err != nil {
			return err
		}
		if _, ok := outcome.Build.Step(Pack); !ok {
			return nil
		}
		meta, err := s.meta(outcome)
		if err != nil {
			return err
		}
		rev, err = s.revision(ctx, outcome, meta)
		return err
	})
	return outcome, rev, err
}
