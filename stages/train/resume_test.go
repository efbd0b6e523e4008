package train_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/train"
)

// given pins a tree.
type given struct{ tree cas.Tree }

func (g given) Pin(context.Context, *stages.Task, cas.Tree) (cas.Tree, error) { return g.tree, nil }

// dying is a cache that records nothing more once it is told to: a process was killed.
type dying struct {
	*disk.Store
	dead *atomic.Bool
}

func (d dying) Record(ctx context.Context, action cas.Digest, r cas.Result) error {
	if d.dead.Load() {
		return errors.New("killed")
	}
	return d.Store.Record(ctx, action, r)
}

// TestResume interrupts and kills training runs at random steps. Gone on with, they end with
// the result of one that was left alone, to the byte.
func TestResume(t *testing.T) {
	p := params()
	p.Model.Epochs = 5
	p.Model.Optimizer = manifest.Optimizer{Name: "adam", LearningRate: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7}
	p.Model.Schedule = manifest.Schedule{Plateau: &manifest.PlateauSchedule{Monitor: "val_loss", Factor: 0.5, Patience: 1}}
	p.Model.Layers = append([]manifest.Layer{{BatchNorm: &manifest.BatchNorm{Momentum: 0.9, Epsilon: 1e-5}}}, p.Model.Layers...)

	run := func(store *disk.Store, workers int, every time.Duration, stopAt int64, kill bool) (cas.Result, int64, error) {
		k := kind(t, p)
		k.SetCheckpoints(every)
		inputs := data(t, store, 10, 4, 0)
		plan, err := stages.NewPlan("resume", []stages.Stage{{Name: "train", Kind: k, Inputs: []stages.Input{
			{Name: train.InputCrops, Pin: given{inputs[train.InputCrops]}}, {Name: train.InputSplit, Pin: given{inputs[train.InputSplit]}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var dead atomic.Bool
		o := &observer{each: func(n int64) {
			if n == stopAt {
				dead.Store(kill)
				cancel()
			}
		}}
		engine := stages.Engine{Store: store, Cache: dying{store, &dead}, Workers: workers, Observer: o}
		build, err := engine.Build(ctx, plan)
		if err != nil {
			return cas.Result{}, o.events.Load(), err
		}
		step, _ := build.Step("train")
		return step.Result, o.events.Load(), nil
	}
	open := func() *disk.Store {
		store, err := disk.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return store
	}

	want, steps, err := run(open(), 2, time.Hour, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		draws := random.New(random.Key{Stage: "kill", Epoch: round})
		kill := round%2 == 1
		every := time.Hour
		if kill {
			every = 0
		}
		t.Run(fmt.Sprintf("round %d", round), func(t *testing.T) {
			store := open()
			done := int64(0)
			for done < steps {
				n := int64(1 + draws.Intn(int(steps)/2))
				got, events, err := run(store, 1+draws.Intn(3), every, n, kill)
				if err == nil {
					if diff := cmp.Diff(want, got, cmp.AllowUnexported(cas.Digest{}, cas.TreeID{})); diff != "" {
						t.Errorf("another result (-left alone +gone on with):\n%s", diff)
					}
					if done == 0 {
						t.Error("the run was never interrupted, so this shows nothing")
					}
					return
				}
				if events > n+1 {
					t.Errorf("%d steps after an end at the %d-th", events, n)
				}
				done += n - 1 // a killed one may lose the step that was going on
			}
			// All steps but those lost are done: the next run must be short.
			got, events, err := run(store, 2, every, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(cas.Digest{}, cas.TreeID{})); diff != "" {
				t.Errorf("another result (-left alone +gone on with):\n%s", diff)
			}
			if events > steps/2+1 {
				t.Errorf("the last run made %d of %d steps: nothing was gone on with", events, steps)
			}
		})
	}
}
