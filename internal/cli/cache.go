package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/upkeep"
)

// cache is the verb whose verbs look after the cache.
func (a *app) cache() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look after what builds have kept",
		Long: `Cache looks after the folder in which builds keep what they produce and download,
so that nothing is done twice. It can be deleted as a whole at any time, which costs
time only; the commands below do less.`,
		Example: `  sandwich cache stats
  sandwich cache gc --max-size 20GB          # say what would go
  sandwich cache gc --max-size 20GB --yes`,
		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.Stderr)
			_ = cmd.Help() // it fails only when stderr does
			return errNoCommand
		},
	}
	for _, c := range []*cobra.Command{a.cacheStats(), a.cacheGC(), a.cacheVerify(), a.cacheAdd(), a.cacheCheckout(), a.cacheExport(), a.cacheImport()} {
		c.Flags().SortFlags = false
		cmd.AddCommand(c)
	}
	return cmd
}

// cacheFlag adds the flag that names the cache.
func cacheFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("cache", "", "folder of the cache (default $SANDWICH_CACHE, or sandwich in the user's cache folder)")
}

// withCache opens a cache, which must be there unless it is to be filled, and closes it
// after use.
func (a *app) withCache(flag string, fill bool, use func(*disk.Store) (ui.Answer, error)) (_ ui.Answer, err error) {
	dir, err := a.cacheDir(flag)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil && !fill {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	store, err := disk.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return use(store)
}

func (a *app) cacheStats() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count what is in the cache",
		Long: `Stats counts what is in the cache: blobs, which are the files of all stages, each
content once; packs, which are files of many small blobs; results, which are what
stages have produced; and what was found damaged. It reads no blob. Where a cache is
shared, other than by the manifest alone, it says so and counts what is there.`,
		Example: `  sandwich cache stats
  sandwich cache stats --json | jq .answer.disk`,
		Args:              between(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	dir := cacheFlag(cmd)
	var shared sharedFlags
	shared.add(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (ui.Answer, error) {
		remote, err := a.measureShared(ctx, shared)
		if err != nil {
			return nil, err
		}
		return a.withCache(*dir, false, func(s *disk.Store) (ui.Answer, error) {
			st, err := upkeep.Measure(ctx, s)
			if err != nil {
				return nil, err
			}
			return cacheStatsAnswer{
				Folder: s.Root(), Blobs: st.Blobs, Bytes: st.Bytes, Packed: st.Packed, Packs: st.Packs,
				Results: st.Results, Damaged: st.Damaged, Files: st.Files, Disk: st.Disk, Remote: remote,
			}, nil
		})
	})
	return cmd
}

// measureShared counts what is in the shared cache; nil when there is none. That it cannot be
// reached is a part of the answer.
func (a *app) measureShared(ctx context.Context, f sharedFlags) (*sharedStats, error) {
	at, err := a.sharedPlace(f, nil)
	if err != nil || at.location == "" {
		return nil, err
	}
	st := &sharedStats{Location: at.location, Mode: at.mode()}
	store, prefix, err := sharedcache.OpenStore(ctx, at.location, at.store.s3)
	if err != nil {
		return nil, usagef("", "%v", err)
	}
	size, err := sharedcache.Measure(ctx, store, prefix)
	if st.Results, st.Packs, st.Bytes = size.Results, size.Packs, size.Bytes; err != nil {
		st.Error = err.Error()
	}
	return st, context.Cause(ctx)
}

type sharedStats struct {
	Location string `json:"location"`
	Mode     string `json:"mode"`
	Results  int    `json:"results"`
	Packs    int    `json:"packs"`
	Bytes    int64  `json:"bytes"`
	Error    string `json:"error,omitempty"` // why it could not be counted
}

type cacheStatsAnswer struct {
	Folder  string `json:"folder"`
	Blobs   int    `json:"blobs"`
	Bytes   int64  `json:"bytes"`
	Packed  int    `json:"packed"`
	Packs   int    `json:"packs"`
	Results int    `json:"results"`
	Damaged int    `json:"damaged"`
	Files   int    `json:"files"`
	Disk    int64  `json:"disk"`

	Remote *sharedStats `json:"remote,omitempty"` // absent when no cache is shared
}

func (c cacheStatsAnswer) Text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s in %s\n", ui.Printable(c.Folder), ui.Bytes(c.Disk), ui.Plural(c.Files, "file"))
	fmt.Fprintf(w, "blobs    %s, %s; %s of them in %s\n", ui.Count(int64(c.Blobs)), ui.Bytes(c.Bytes), ui.Count(int64(c.Packed)), ui.Plural(c.Packs, "pack"))
	fmt.Fprintf(w, "results  %s\n", ui.Count(int64(c.Results)))
	fmt.Fprintf(w, "damaged  %s\n", ui.Count(int64(c.Damaged)))
	if r := c.Remote; r != nil {
		held := fmt.Sprintf("%s, %s, %s", ui.Plural(r.Results, "result"), ui.Plural(r.Packs, "pack"), ui.Bytes(r.Bytes))
		if r.Error != "" {
			held = ui.Printable(r.Error)
		}
		fmt.Fprintf(w, "shared   %s (%s): %s\n", ui.Printable(r.Location), r.Mode, held)
	}
}

func (a *app) cacheGC() *cobra.Command {
	var (
		size byteSize
		age  dayAge
		yes  bool
	)
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what is not needed",
		Long: `Gc says what it would remove from the cache, and removes it with --yes: what
interrupted builds have left behind and what no result needs; with --older-than,
results that no build has used for so long; with --max-size, results until the rest
needs no more than that, the one used longest ago first. Images that are unpacked for
stages to run in go as well: the next such stage unpacks its image again.

Some things stay whatever the limits say, and a table tells them: photos and metadata
that the lock of a project pins, which may be the last copies of what is gone from the
web; the build that an installed package came from; what explains the last build. A
project or a package that has been gone for 30 days needs nothing any more.

What a build is using is never removed: while one is at work, gc --yes ends with
exit code 1 and says whose it is. A build that starts meanwhile waits for gc.`,
		Example: `  sandwich cache gc
  sandwich cache gc --older-than 30d --yes
  sandwich cache gc --max-size 20GB --yes`,
		Args:              between(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	dir := cacheFlag(cmd)
	cmd.Flags().Var(&size, "max-size", "keep results that need no more than this, such as 20GB")
	cmd.Flags().Var(&age, "older-than", "remove results that were not used for so long, such as 30d or 12h")
	cmd.Flags().BoolVar(&yes, "yes", false, "remove it; without, only say what would go")
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (ui.Answer, error) {
		policy := upkeep.Policy{MaxBytes: int64(size)}
		if age > 0 {
			policy.Unused = time.Now().Add(-time.Duration(age))
		}
		return a.withCache(*dir, false, func(s *disk.Store) (ui.Answer, error) {
			answer, err := clean(ctx, s, policy, !yes)
			if err != nil {
				return nil, err
			}
			if !yes {
				a.summary = "nothing was removed; --yes does it"
			}
			return answer, nil
		})
	})
	return cmd
}

// collect keeps what roots need, and forgets the roots that are gone.
func collect(ctx context.Context, s *disk.Store, policy upkeep.Policy, dry bool) (upkeep.Collected, error) {
	roots, gone, err := pipeline.Roots(ctx, s, time.Now())
	if err != nil {
		return upkeep.Collected{}, err
	}
	policy.Roots = roots
	c, err := upkeep.Collect(ctx, s, policy, dry)
	if err != nil || dry {
		return c, err
	}
	for _, r := range gone {
		err = errors.Join(err, s.ForgetRoot(r))
	}
	return c, err
}

// clean collects, and removes unpacked images and libraries.
func clean(ctx context.Context, s *disk.Store, policy upkeep.Policy, dry bool) (cacheGCAnswer, error) {
	c, err := collect(ctx, s, policy, dry)
	if err != nil {
		return cacheGCAnswer{}, err
	}
	answer := newCacheGCAnswer(c, dry)
	if answer.Images, answer.ImageBytes, err = pipeline.CleanImages(s, dry); err != nil {
		return answer, err
	}
	if answer.Libraries, answer.LibraryBytes, err = pipeline.CleanLibraries(s, dry); err != nil || dry {
		return answer, err
	}
	return answer, pipeline.CleanRunning(s)
}

type cacheGCAnswer struct {
	Dry         bool         `json:"dry"`
	Results     int          `json:"results"`
	Blobs       int          `json:"blobs"`
	Bytes       int64        `json:"bytes"`
	KeptResults int          `json:"kept_results"`
	KeptBytes   int64        `json:"kept_bytes"`
	Unpacked    int64        `json:"unpacked"` // in packs that are not worth a copy yet
	Kept        []keptAnswer `json:"kept"`
	Images      int          `json:"images"`      // unpacked ones that went
	ImageBytes  int64        `json:"image_bytes"` // of their files

	Libraries    int   `json:"libraries"` // unpacked ones that went: wheels and packages of conda's
	LibraryBytes int64 `json:"library_bytes"`
}

// keptAnswer is what stays for a reason, and for none before it.
type keptAnswer struct {
	Reason  string `json:"reason"`         // lock, installed, history or recent
	Name    string `json:"name,omitempty"` // a path, or the name of a package
	Results int    `json:"results"`
	Blobs   int    `json:"blobs"`
	Bytes   int64  `json:"bytes"`
}

func newCacheGCAnswer(c upkeep.Collected, dry bool) cacheGCAnswer {
	total := c.Total()
	answer := cacheGCAnswer{
		Dry: dry, Results: c.Results, Blobs: c.Blobs, Bytes: c.Bytes,
		KeptResults: total.Results, KeptBytes: total.Bytes, Unpacked: c.Left, Kept: []keptAnswer{},
	}
	for _, k := range c.Kept {
		answer.Kept = append(answer.Kept, keptAnswer{Reason: string(k.Reason), Name: k.Name, Results: k.Results, Blobs: k.Blobs, Bytes: k.Bytes})
	}
	return answer
}

func (c cacheGCAnswer) Text(w io.Writer) {
	done := "removed"
	if c.Dry {
		done = "would remove"
	}
	fmt.Fprintf(w, "%s %s and %s, %s\n", done, ui.Plural(c.Results, "result"), ui.Plural(c.Blobs, "blob"), ui.Bytes(c.Bytes))
	if c.Images > 0 {
		fmt.Fprintf(w, "%s %s, %s: a stage that runs in one unpacks it again\n", done, ui.Plural(c.Images, "unpacked image"), ui.Bytes(c.ImageBytes))
	}
	if c.Libraries > 0 {
		fmt.Fprintf(w, "%s %s, %s: a stage that runs with one unpacks it again\n", done, ui.Plural(c.Libraries, "unpacked environment"), ui.Bytes(c.LibraryBytes))
	}
	fmt.Fprintf(w, "kept %s, %s\n", ui.Plural(c.KeptResults, "result"), ui.Bytes(c.KeptBytes))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range c.Kept {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", k.Reason, ui.Bytes(k.Bytes), ui.Plural(k.Results, "result"), ui.Printable(cmp.Or(k.Name, "within the limits")))
	}
	_ = table.Flush() // as the Fprintf above
}

// byteSize is a number of bytes as a person writes it.
type byteSize int64

// Set parses 20GB, 1.5 TB or 500MiB.
func (b *byteSize) Set(s string) error {
	units := []struct {
		name string
		size float64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if ok && err == nil && n*u.size >= 1 && n*u.size < 1<<62 {
			*b = byteSize(n * u.size)
			return nil
		}
	}
	return fmt.Errorf("want a size such as 500MB or 20GB")
}

// String is the size as Set reads it.
func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

// Type names the value in help texts.
func (*byteSize) Type() string { return "size" }

// dayAge is a duration that may be given in days.
type dayAge time.Duration

// Set parses 30d, or what time.ParseDuration knows.
func (d *dayAge) Set(s string) error {
	age, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		age = time.Duration(n) * 24 * time.Hour
	}
	const most = 100 * 365 * 24 * time.Hour
	if err != nil || age <= 0 || age > most {
		return fmt.Errorf("want an age such as 30d or 12h")
	}
	*d = dayAge(age)
	return nil
}

// String is the age as Set reads it.
func (d *dayAge) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type names the value in help texts.
func (*dayAge) Type() string { return "age" }

func (a *app) cacheVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read all of the cache and compare it with its digests",
		Long: `Verify reads every blob of the cache and compares it with the digest that names it.
A damaged one is moved to the folder "damaged" in the cache, and results that need
it are forgotten: the next build makes both again. Blobs that an index has lost are
found. It ends with exit code 1 when anything was damaged; builds may go on meanwhile.

A build notices damage by itself, when it reads a blob. Verify is for a disk that is
not trusted any more.`,
		Example: `  sandwich cache verify
  sandwich cache verify --json | jq .answer.damaged`,
		Args:              between(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	dir := cacheFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (ui.Answer, error) {
		return a.withCache(*dir, false, func(s *disk.Store) (ui.Answer, error) {
			r, err := upkeep.Verify(ctx, s, func(done, total int64) {
				a.view.Observe(stages.Progress{Stage: "verify", Done: done, Total: total, Unit: ui.UnitBytes})
			})
			if err != nil {
				return nil, err
			}
			answer := cacheVerifyAnswer{Blobs: r.Blobs, Bytes: r.Bytes, Results: r.Results, Found: r.Found, Forgotten: r.Forgotten, Damaged: []string{}}
			for _, d := range r.Damaged {
				answer.Damaged = append(answer.Damaged, d.String())
			}
			if !r.OK() {
				return answer, &damagedCacheError{dir: s.Root()}
			}
			return answer, nil
		})
	})
	return cmd
}

// damagedCacheError says that a cache was damaged. What was is the answer.
type damagedCacheError struct{ dir string }

func (e *damagedCacheError) Error() string { return e.dir + " was damaged" }

type cacheVerifyAnswer struct {
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Results   int      `json:"results"`
	Found     int      `json:"found"`
	Forgotten int      `json:"forgotten"`
	Damaged   []string `json:"damaged"`
}

func (c cacheVerifyAnswer) Text(w io.Writer) {
	for _, d := range c.Damaged {
		fmt.Fprintf(w, "damaged: %s\n", d)
	}
	if c.Forgotten > 0 {
		fmt.Fprintf(w, "forgot %s, not whole any more\n", ui.Plural(c.Forgotten, "result"))
	}
	if c.Found > 0 {
		fmt.Fprintf(w, "found %s that an index had lost\n", ui.Plural(c.Found, "blob"))
	}
	if len(c.Damaged)+c.Forgotten == 0 {
		fmt.Fprintf(w, "%s, %s, and %s, all as they should be\n", ui.Plural(c.Blobs, "blob"), ui.Bytes(c.Bytes), ui.Plural(c.Results, "result"))
	}
}

func (a *app) cacheExport() *cobra.Command {
	var flags buildFlags
	cmd := &cobra.Command{
		Use:   "export FILE [MANIFEST]",
		Short: "Write results and what they need to a tar file",
		Long: `Export writes results of the cache, with every file that they need, to a tar file.
Where it is imported, a build of the same manifest and lock runs no stage.

With a manifest it exports what its build has produced, and ends with exit code 1 if
some stage has not run yet; without, all of the cache. Equal caches give equal files.`,
		Example: `  sandwich cache export burgers.tar manifest.yaml
  sandwich cache export all.tar`,
		Args: between(1, 2),
	}
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		actions, err := a.actionsOf(ctx, args[1:], flags)
		if err != nil {
			return nil, err
		}
		return a.withCache(flags.cache, false, func(s *disk.Store) (ui.Answer, error) {
			m, err := exportTo(ctx, s, args[0], actions)
			if err != nil {
				return nil, fmt.Errorf("export cache: %w", err)
			}
			return newArchiveAnswer(args[0], m), nil
		})
	})
	flags.add(cmd)
	return cmd
}

// actionsOf are those of the stages of the manifest that is named, or nil.
func (a *app) actionsOf(ctx context.Context, manifests []string, flags buildFlags) ([]cas.Digest, error) {
	if len(manifests) == 0 {
		return nil, nil
	}
	project, options, err := a.openProject(manifests, flags)
	if err != nil {
		return nil, err
	}
	forecast, err := pipeline.Plan(ctx, project, options)
	if err := errors.Join(err, options.Store.Close()); err != nil {
		return nil, err
	}
	var actions []cas.Digest
	for _, s := range forecast.Stages {
		if !s.Cached {
			return nil, &notBuiltError{manifest: manifests[0], stage: s.Stage}
		}
		actions = append(actions, s.Action)
	}
	return actions, nil
}

// notBuiltError says that a manifest was not built with this cache.
type notBuiltError struct{ manifest, stage string }

func (e *notBuiltError) Error() string {
	return fmt.Sprintf("%s is not built: stage %s would run", e.manifest, e.stage)
}

// exportTo writes an archive, which appears whole or not at all.
func exportTo(ctx context.Context, s *disk.Store, file string, actions []cas.Digest) (m upkeep.Moved, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.tmp")
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // closed already on some paths; the first error is the one to tell
			_ = os.Remove(tmp.Name())
		}
	}()
	if m, err = upkeep.Export(ctx, s, tmp, actions); err != nil {
		return m, err
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Close()); err != nil {
		return m, err
	}
	return m, os.Rename(tmp.Name(), file)
}

func (a *app) cacheImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in what export has written",
		Long: `Import takes the results of a tar file that export has written into the cache. Every
file is compared with its digest, and a result is taken only when all that it needs
has arrived.

That the results are what the stages would have produced is the word of who made the
file: import from people you trust.`,
		Example: `  sandwich cache import burgers.tar
  sandwich cache import burgers.tar --cache /big/disk/cache`,
		Args: between(1, 1),
	}
	dir := cacheFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		return a.withCache(*dir, true, func(s *disk.Store) (ui.Answer, error) {
			m, err := upkeep.Import(ctx, s, f)
			if err != nil {
				return nil, fmt.Errorf("import %s: %w", args[0], err)
			}
			return newArchiveAnswer(args[0], m), nil
		})
	})
	return cmd
}

// archiveAnswer is that of export and import.
type archiveAnswer struct {
	File    string `json:"file"`
	Results int    `json:"results"`
	Blobs   int    `json:"blobs"`
	Bytes   int64  `json:"bytes"`
}

func newArchiveAnswer(file string, m upkeep.Moved) archiveAnswer {
	return archiveAnswer{File: file, Results: m.Results, Blobs: m.Blobs, Bytes: m.Bytes}
}

func (c archiveAnswer) Text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s, %s, %s\n", ui.Printable(c.File), ui.Plural(c.Results, "result"), ui.Plural(c.Blobs, "blob"), ui.Bytes(c.Bytes))
}
