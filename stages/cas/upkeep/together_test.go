package upkeep_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/disk/disktest"
	"github.com/sandwich-build/sandwich/stages/cas/upkeep"
)

// workerEnv makes the test binary a process that builds, collects or verifies until it is
// killed: "<work> <name> <folder>".
const workerEnv = "SANDWICH_TEST_WORKER"

// workForever tells of each result that it has recorded, and of what went wrong.
func workForever(ctx context.Context, job string) error {
	fields := strings.SplitN(job, " ", 3)
	for round := 0; ; round++ {
		s, err := disk.Open(fields[2])
		if err != nil {
			return err
		}
		switch fields[0] {
		case "build":
			name := fmt.Sprintf("%s-%d", fields[1], round)
			if err = recordTree(ctx, s, name); err == nil {
				fmt.Println("recorded", name)
			}
		case "collect":
			if _, err = upkeep.Collect(ctx, s, upkeep.Policy{}, false); isBusy(err) {
				err = nil
			}
		case "verify":
			var report upkeep.Report
			if report, err = upkeep.Verify(ctx, s, func(int64, int64) {}); err == nil && len(report.Damaged) > 0 {
				err = fmt.Errorf("verify found %d damaged blobs", len(report.Damaged))
			}
		}
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
}

func isBusy(err error) bool {
	_, busy := errors.AsType[*disk.BusyError](err)
	return busy
}

// recordTree records a tree as record does, without a test.
func recordTree(ctx context.Context, s *disk.Store, name string) error {
	out := cas.NewBuilder(s)
	err := errors.Join(
		out.PutBytes(ctx, "shared", []byte("shared")),
		out.PutBytes(ctx, "large", []byte(large(name))),
	)
	for i := range 50 {
		err = errors.Join(err, out.PutBytes(ctx, fmt.Sprintf("small/%d", i), smallFile(name, i)))
	}
	tree, commitErr := out.Commit(ctx)
	if err := errors.Join(err, commitErr); err != nil {
		return err
	}
	return s.Record(ctx, actionOf(name), cas.Result{Tree: tree.ID()})
}

// TestKilledTogether kills (SIGKILL) processes that build, collect and verify in one store
// at the same time, at random moments. Every result that was recorded must be there,
// whole, whatever was done to the others. SANDWICH_KILLS is how many times.
func TestKilledTogether(t *testing.T) {
	kills := 12
	if n, err := strconv.Atoi(os.Getenv("SANDWICH_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, uint64(kills)))
	var recorded []string
	total := 0
	for killed := 0; killed < kills; {
		var wg sync.WaitGroup
		var mu sync.Mutex // guards recorded
		for _, work := range []string{"build", "build", "collect", "verify"} {
			killed++
			after := time.Duration(random.IntN(300)) * time.Millisecond
			job := fmt.Sprintf("%s %d %s", work, killed, dir)
			wg.Go(func() {
				names := killedWorker(t, job, after)
				mu.Lock()
				defer mu.Unlock()
				recorded = append(recorded, names...)
			})
		}
		wg.Wait()
		s := disktest.Open(t, dir)
		for _, name := range recorded {
			if !whole(t, s, name) {
				t.Fatalf("after %d kills: the result %s is lost", killed, name)
			}
		}
		if len(recorded) > 40 { // let most of them go, so that gc has work
			total += len(recorded)
			recorded = nil
			if _, err := upkeep.Collect(t.Context(), s, upkeep.Policy{MaxBytes: 1}, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := disktest.Open(t, dir)
	report, err := upkeep.Verify(t.Context(), s, func(int64, int64) {})
	if err != nil || !report.OK() {
		t.Errorf("after all kills: %+v, %v", report, err)
	}
	t.Logf("%d kills; %d results recorded, all whole", kills, total+len(recorded))
}

// killedWorker runs a worker, kills it some time after it began, and returns what it has
// recorded by then.
func killedWorker(t *testing.T, job string, after time.Duration) (recorded []string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+job)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		name, ok := strings.CutPrefix(lines.Text(), "recorded ")
		if !ok {
			t.Errorf("%s: %s", job, lines.Text())
			continue
		}
		recorded = append(recorded, name)
	}
	_ = cmd.Wait() // it was killed, and says so
	return recorded
}
