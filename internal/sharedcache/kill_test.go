package sharedcache_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// TestMain runs the tests, or is the process that TestKilled kills. What goes wrong there is
// written to stderr.
func TestMain(m *testing.M) {
	if os.Getenv("SANDWICH_TEST_SHARED") == "" {
		m.Run()
		return
	}
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// killSample is large enough for an upload to last some milliseconds.
func killSample() sample {
	return sample{photos: 300, size: 20_000, large: 10_000_000, runs: new(runs)}
}

// child builds a sample and uploads it.
func child(ctx context.Context) error {
	local, err := disk.Open(os.Getenv("SANDWICH_TEST_DISK"))
	if err != nil {
		return err
	}
	c := sharedcache.New(ctx, local, dir.New(os.Getenv("SANDWICH_TEST_SHARED")), sharedcache.Options{Location: "s3://team/cache", Prefix: "cache/"})
	defer c.Close()
	s := killSample()
	s.seed, err = strconv.Atoi(os.Getenv("SANDWICH_TEST_SEED"))
	if err != nil {
		return err
	}
	plan, err := s.stages()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "started")
	e := stages.Engine{Store: c, Cache: c, Environment: "test", Workers: 2}
	if _, err := e.Build(ctx, plan); err != nil {
		return err
	}
	return c.Finish(ctx, func(int64, int64) {})
}

// Processes are killed (kill -9) while they build and upload. Whatever is in the shared cache
// then is whole, and the next build of the same machine completes it.
func TestKilled(t *testing.T) {
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("SANDWICH_KILLS")); err == nil {
		rounds = n
	}
	root, folder := t.TempDir(), t.TempDir()
	shared := dir.New(folder)
	early := 0
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "SANDWICH_TEST_SHARED="+folder, "SANDWICH_TEST_DISK="+root, "SANDWICH_TEST_SEED="+strconv.Itoa(round))
		var faults bytes.Buffer
		cmd.Stderr = &faults
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err, faults.String())
		}
		time.Sleep(time.Duration(50+37*(round%23)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() != nil {
			early++
		}
		if faults.Len() > 0 {
			t.Fatalf("child: %s", faults.String())
		}
		wantWhole(t, shared)
	}
	if early == 0 {
		t.Error("no process was killed before it was done")
	}
	t.Logf("%d of %d processes were killed at work", early, rounds)

	s := killSample()
	s.seed = rounds - 1
	m := onDisk(t, root, shared)
	want := m.build(s).Steps[2].Result.Tree
	before := s.runs.String()
	other := newMachine(t, shared)
	other.packaged(s, want)
	wantRuns(t, s, before)
	wantSilence(t, m, other)
}

// Machines build the same at once: all get the same, no matter who is first, and hardly more is in
// the shared cache than one of them would have put there.
func TestMachinesAtOnce(t *testing.T) {
	s := small()
	alone, want := filled(t, s)
	for range 5 {
		shared := new(mem.Store)
		var group sync.WaitGroup
		for range 3 {
			m := newMachine(t, shared)
			group.Go(func() {
				m.packaged(s, want)
				m.finish()
				wantSilence(t, m)
			})
		}
		group.Wait()
		if got, most := stored(t, shared), stored(t, alone); got > most*11/10 {
			t.Errorf("%d bytes are there, want %d", got, most)
		}
		wantWhole(t, shared)
	}
}

// stuck is a store whose writes never end by themselves.
type stuck struct {
	blob.Store
	begun chan bool
}

func (s stuck) Put(ctx context.Context, _ string, _ blob.Body) error {
	s.begun <- true
	<-ctx.Done()
	return ctx.Err()
}

// Who ends a build does not wait for its uploads.
func TestClose(t *testing.T) {
	shared := stuck{new(mem.Store), make(chan bool, 100)}
	m := newMachine(t, shared)
	b, err := m.tryBuild(small())
	if err != nil {
		t.Fatal(err)
	}
	<-shared.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.cache.Finish(ctx, func(int64, int64) {}); err == nil {
		t.Error("Finish returned before the uploads have ended")
	}
	m.cache.Close()
	if missing, err := m.cache.Near().Missing(t.Context(), []cas.Digest{b.Steps[2].Result.Tree.Digest()}); err != nil || len(missing) > 0 {
		t.Errorf("Missing = %v, %v", missing, err)
	}
	wantSilence(t, m)
}
