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
func (k *Kind) write(ctx context.Context, t *stages.Task, p *plan, results []result) error {
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
		{openimages.FunnelFile, func(w io.Writer) error { return openimages.WriteFunnel(w, k.funnel(p, results)) }},
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

// funnel counts what each rule left, and shows some of what it dropped. A photo counts for
// a rule as long as a box of it is left.
func (k *Kind) funnel(p *plan, results []result) openimages.Funnel {
	names := []string{ruleMissing, ruleQuarantined}
	for _, r := range rules(k.boxes) {
		names = append(names, r.name)
	}
	all := make([]openimages.FunnelRule, len(names))
	examples := make([]openimages.Examples, len(names))
	for i, r := range results {
		left := len(p.photos[i].boxes)
		byRule := map[string]int{}
		drop := func(box *openimages.SelectedBox, rule string) {
			byRule[rule]++
			examples[slices.Index(names, rule)].Offer(box.Example())
		}
		switch {
		case !p.photos[i].found:
			eachBox(&p.photos[i], ruleMissing, drop)
		case r.quarantined != "":
			eachBox(&p.photos[i], ruleQuarantined, drop)
		}
		for _, d := range r.dropped {
			drop(d.box, d.rule)
		}
		for rule := range all {
			if left == 0 {
				break
			}
			gone := byRule[names[rule]]
			left -= gone
			all[rule].Boxes += int64(left)
			all[rule].DroppedBoxes += int64(gone)
			if left > 0 {
				all[rule].Images++
			} else {
				all[rule].DroppedImages++
			}
		}
	}
	for i := range all {
		all[i].Rule, all[i].Examples = names[i], examples[i].Kept(nil)
	}
	return openimages.Funnel{Rules: all}
}

// eachBox drops all boxes of a photo by one rule.
func eachBox(p *plannedPhoto, rule string, drop func(*openimages.SelectedBox, string)) {
	for i := range p.boxes {
		drop(&p.boxes[i], rule)
	}
}
