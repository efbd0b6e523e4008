package crop

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/stages"
)

// quarantineFolder has a picture of each photo in quarantine of which anything can be seen.
const quarantineFolder = "quarantine"

// write writes the tables, counts, and tells what was quarantined.
func write(ctx context.Context, t *stages.Task, p *plan, results []result) error {
	var crops []cropfile.Crop
	var quarantine []cropfile.Quarantined
	for i, r := range results {
		crops = append(crops, r.crops...)
		if r.quarantined != "" {
			quarantine = append(quarantine, cropfile.Quarantined{ImageID: p.photos[i].id, Reason: r.quarantined})
		}
		for _, d := range r.preview {
			if err := t.Out().Add(path.Join(quarantineFolder, string(p.photos[i].id)+".jpg"), d); err != nil {
				return err
			}
		}
	}
	t.Count("photos", int64(len(results)))
	t.Count("quarantined", int64(len(quarantine)))
	t.Count("crops", int64(len(crops)))
	warn(t, quarantine)

	slices.SortFunc(crops, func(a, b cropfile.Crop) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(quarantine, func(a, b cropfile.Quarantined) int { return cmp.Compare(a.ImageID, b.ImageID) })
	for _, table := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{cropfile.CropsFile, func(w io.Writer) error { return cropfile.WriteCrops(w, slices.Values(crops)) }},
		{cropfile.QuarantineFile, func(w io.Writer) error { return cropfile.WriteQuarantine(w, slices.Values(quarantine)) }},
		{openimages.FunnelFile, func(w io.Writer) error { return openimages.WriteFunnel(w, funnel(p, results)) }},
	} {
		var buf bytes.Buffer
		if err := table.write(&buf); err != nil {
			return err
		}
		if err := t.Out().Put(ctx, table.name, &buf); err != nil {
			return err
		}
	}
	return nil
}

// warn says how many photos were quarantined for each reason.
func warn(t *stages.Task, quarantine []cropfile.Quarantined) {
	byReason := map[string]int{}
	for _, q := range quarantine {
		byReason[q.Reason]++
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		t.Warnf("photos quarantined: %d, %s", byReason[reason], reason)
	}
}

// funnel counts what each rule left. A photo counts for a rule as long as a box of it
// is left.
func funnel(p *plan, results []result) openimages.Funnel {
	rules := []openimages.FunnelRule{{Rule: "photo missing"}, {Rule: "photo quarantined"}, {Rule: "min_side"}, {Rule: "empty"}}
	for i, r := range results {
		before := len(p.photos[i].boxes)
		dropped := [...]int{0, 0, r.small, r.empty}
		switch {
		case !p.photos[i].found:
			dropped[0] = before
		case r.quarantined != "":
			dropped[1] = before
		}
		for rule := range rules {
			if before == 0 {
				break
			}
			after := before - dropped[rule]
			rules[rule].Boxes += int64(after)
			rules[rule].DroppedBoxes += int64(dropped[rule])
			if after > 0 {
				rules[rule].Images++
			} else {
				rules[rule].DroppedImages++
			}
			before = after
		}
	}
	return openimages.Funnel{Rules: rules}
}
