package pipeline

import (
	"context"

	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Rebuild runs the stages of a package's project and returns the revision that they come
// to, which is not published; an empty one when the options end the build before it. What the
// lock pins is all that is asked of the world, by digest; in place of the git work tree that
// the manifest names are the sources that the package holds, the zero Tree for none.
func Rebuild(ctx context.Context, p *Project, o Options, code cas.Tree) (*Outcome, registry.Revision, error) {
	o.Locked, o.hold, o.rebuild = true, true, &code
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
