package pin

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/sorted"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Gap says what a lock lacks for a selection.
type Gap struct {
	Photos int64         // that it neither pins nor has a tombstone for
	Bytes  int64         // that these have, as far as the metadata tell
	Drift  []lock.Change // what is other than the selection needs it: of photos the first, and how many more there are
}

// Compare returns the gap between a selection and the pins of a lock.
func Compare(ctx context.Context, selection cas.Tree, places []string, have lock.Photos) (Gap, error) {
	s, err := openSelection(ctx, selection)
	if err != nil {
		return Gap{}, err
	}
	var gap Gap
	for pair, err := range sorted.Join(s.images(ctx), have.All(), imageID, photoID) {
		if err != nil {
			return Gap{}, fmt.Errorf("pin photos: %w", err)
		}
		if pair.Right == nil || pair.Left != nil && pair.Right.Dead == "" && !isOf(*pair.Right, pair.Left) {
			gap.Photos++
			gap.Bytes += pair.Left.OriginalSize
		}
	}
	gap.Drift, err = drift(ctx, s, places, have)
	return gap, err
}

// maxChanges bounds the photos that are named, of which there may be millions. A person reads the first ones,
// and their number.
const maxChanges = 1000

func drift(ctx context.Context, s *selected, places []string, have lock.Photos) ([]lock.Change, error) {
	var changes []lock.Change
	more := 0
	for c, err := range lock.DriftPhotos(have, s.ids(ctx), places) {
		if err != nil {
			return nil, fmt.Errorf("pin photos: %w", err)
		}
		if len(changes) == maxChanges {
			more++
			continue
		}
		changes = append(changes, c)
	}
	if more > 0 {
		changes = append(changes, lock.Change{Subject: lock.PhotoLine, Kind: lock.More, Name: strconv.Itoa(more)})
	}
	return slices.Clip(changes), nil
}
