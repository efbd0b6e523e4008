package split

import (
	"bytes"
	"context"
	"fmt"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages"
)

// groups gives a photo the one that stands for all that show the same. A photo that none
// shows the same as is not in it.
type groups map[openimages.ImageID]openimages.ImageID

func (g groups) of(id openimages.ImageID) openimages.ImageID {
	if group, ok := g[id]; ok {
		return group
	}
	return id
}

func readGroups(ctx context.Context, t *stages.Task) (groups, error) {
	g := groups{}
	for d, err := range table.Rows(ctx, t.Input(Crops), cropfile.DuplicatesFile, cropfile.Duplicates) {
		if err != nil {
			return nil, err
		}
		g[d.ImageID], g[d.Like] = d.Group, d.Group
	}
	return g, nil
}

// audit looks for leaks in what was assigned, and for those that there would be without the
// groups. One that there is is a mistake of this package, and ends the build.
func (k *Kind) audit(ctx context.Context, t *stages.Task, g groups, assignments []cropfile.Assignment) error {
	type member struct {
		set    cropfile.Set
		labels map[string]int
	}
	members := map[openimages.ImageID]map[openimages.ImageID]*member{} // by group and photo
	photos := map[openimages.ImageID]bool{}
	for _, a := range assignments {
		photos[a.ImageID] = true
		group, ok := g[a.ImageID]
		if !ok {
			continue
		}
		if members[group] == nil {
			members[group] = map[openimages.ImageID]*member{}
		}
		m := members[group][a.ImageID]
		if m == nil {
			m = &member{set: a.Set, labels: map[string]int{}}
			members[group][a.ImageID] = m
		}
		m.labels[a.Label]++
		if m.set != a.Set {
			return fmt.Errorf("split: photo %s is in the sets %s and %s", a.ImageID, m.set, a.Set)
		}
	}
	audit := cropfile.Audit{Photos: len(photos)}
	for group, photos := range members {
		if len(photos) < 2 { // no crop is left of the others
			continue
		}
		audit.Groups++
		audit.Duplicates += len(photos)
		alone, together := map[cropfile.Set]bool{}, map[cropfile.Set]bool{}
		for id, m := range photos {
			alone[k.set(stratum(m.labels), id)] = true
			together[m.set] = true
		}
		if len(alone) > 1 {
			audit.WouldCross++
		}
		if len(together) > 1 {
			return fmt.Errorf("split: the photos that show the same as %s are in %d sets", group, len(together))
		}
	}
	t.Infof("leak audit: %d photos, %d groups that show the same (%d photos), %d of which would have crossed the sets, %d do",
		audit.Photos, audit.Groups, audit.Duplicates, audit.WouldCross, audit.Cross)
	t.Count("groups", int64(audit.Groups))
	t.Count("would_cross", int64(audit.WouldCross))
	var buf bytes.Buffer
	if err := cropfile.WriteAudit(&buf, audit); err != nil {
		return fmt.Errorf("write %s: %w", cropfile.AuditFile, err)
	}
	return t.Out().Put(ctx, cropfile.AuditFile, &buf)
}
