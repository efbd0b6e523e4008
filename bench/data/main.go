// Command data measures how metadata of Open Images' size are read, beside DuckDB, Polars and grep,
// and how photos are fetched, beside aria2 and img2dataset. Its README explains the tables that it
// prints.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/bench/peak"
	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/synthetic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "data:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "do" {
		return do(ctx, os.Args[2:])
	}
	var b bench
	sizes := flag.String("sizes", "0.01,0.1,1", "parts of Open Images V4's train subset to measure at")
	flag.IntVar(&b.rounds, "rounds", 5, "runs of which medians are taken")
	flag.StringVar(&b.dir, "dir", filepath.Join(os.TempDir(), "sandwich-bench-data"), "folder for the data, which is kept: 3 GB at full size")
	flag.StringVar(&b.python, "python", python("duckdb-2.0.1"), "a Python with duckdb and polars; empty leaves them out")
	flag.StringVar(&b.img2dataset, "img2dataset", python("img2dataset-1.47.0"), "a Python with img2dataset; empty leaves it out")
	flag.StringVar(&b.only, "tasks", "", "tasks to measure, such as scan,query (default all)")
	photos := flag.String("photos", "2000,20000", "how many photos to download")
	flag.Parse()
	for size := range strings.SplitSeq(*sizes, ",") {
		share, err := strconv.ParseFloat(size, 64)
		if err != nil || share <= 0 {
			return fmt.Errorf("-sizes %s: want parts such as 0.01", *sizes)
		}
		if err := b.metadata(ctx, int(math.Round(synthetic.OfficialPhotos*share))); err != nil {
			return err
		}
	}
	for count := range strings.SplitSeq(*photos, ",") {
		n, err := strconv.Atoi(count)
		if err != nil || n <= 0 {
			return fmt.Errorf("-photos %s: want numbers", *photos)
		}
		if err := b.downloads(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// python is that with a package where .ci/run keeps such, if it is there.
func python(with string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	name := filepath.Join(cache, "sandwich-ci", with, "bin", "python")
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

type bench struct {
	rounds              int
	dir, only           string
	python, img2dataset string
}

// The label that is looked for has some boxes on a photo in ten thousand; the photos that are
// looked for are as many.
const (
	label  = "/m/0cdn1"
	photos = "00f"
)

// cost is what a run took.
type cost struct {
	time   time.Duration
	memory int64 // bytes, at the peak
	rows   int64 // found
}

// task is a row of the table: what is done, and by whom. A tool is a command line; $BOXES, $IMAGES,
// $INDEX and $OUT in it are the files.
type task struct {
	name, what string
	photos     bool // what is counted are photos, so that their rate is of interest
	tools      []tool
}

type tool struct {
	name string
	args []string
}

// ours is a task done by sandwich, in a process of its own.
func ours(verb string, args ...string) tool {
	return tool{"sandwich", append([]string{os.Args[0], "do", verb}, args...)}
}

func (b *bench) tasks() []task {
	peer := func(name, verb string, args ...string) tool {
		return tool{name, append([]string{b.python, "-c", peers, strings.ToLower(name), verb}, args...)}
	}
	return []task{
		{name: "scan", what: "boxes of one label, from the CSV", tools: []tool{
			ours("scan", "$BOXES", label), peer("DuckDB", "scan", "$BOXES", label), peer("Polars", "scan", "$BOXES", label),
			{"grep", []string{"grep", "-c", "-F", "," + label + ",", "$BOXES"}},
		}},
		{name: "images", what: "one photo in 4,096, from the CSV of photos", tools: []tool{
			ours("images", "$IMAGES", photos), peer("DuckDB", "images", "$IMAGES", photos), peer("Polars", "images", "$IMAGES", photos),
			{"grep", []string{"grep", "-c", "^" + photos, "$IMAGES"}},
		}},
		{name: "index", what: "the CSV of boxes, sorted by label as Parquet", tools: []tool{
			ours("index", "$BOXES", "$OUT"), peer("DuckDB", "index", "$BOXES", "$OUT"),
		}},
		{name: "query", what: "boxes of one label, from the index", tools: []tool{
			ours("query", "$INDEX", label), peer("DuckDB", "query", "$INDEX", boxindex.FileName(label)), peer("Polars", "query", "$INDEX", boxindex.FileName(label)),
		}},
	}
}

// wants reports whether a task is to be measured.
func (b *bench) wants(t task) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), t.name)
}

// metadata measures all tasks about metadata at a size and prints their table.
func (b *bench) metadata(ctx context.Context, photos int) error {
	tasks := slices.DeleteFunc(b.tasks(), func(t task) bool { return !b.wants(t) })
	if len(tasks) == 0 {
		return nil
	}
	dir := filepath.Join(b.dir, strconv.Itoa(photos))
	files, err := b.prepare(ctx, dir, photos)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d photos, %s of boxes\n\n", photos, size(files["$BOXES"]))
	for _, t := range tasks {
		if err := b.measure(ctx, t, files); err != nil {
			return err
		}
	}
	return nil
}

// measure prints the row of a task.
func (b *bench) measure(ctx context.Context, t task, files map[string]string) error {
	costs := map[string][]cost{}
	for range b.rounds {
		for _, tool := range t.tools { // in turns, so that what the machine does besides meets all
			if tool.args[0] == "" {
				continue
			}
			c, err := b.take(ctx, tool, files)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", t.name, tool.name, err)
			}
			costs[tool.name] = append(costs[tool.name], c)
		}
	}
	fmt.Printf("| %s |", t.what)
	mine := median(costs["sandwich"])
	for _, tool := range t.tools {
		c := median(costs[tool.name])
		if c.time == 0 {
			fmt.Print(" – |")
			continue
		}
		if c.rows != mine.rows {
			return fmt.Errorf("%s: %s finds %d rows, sandwich %d", t.name, tool.name, c.rows, mine.rows)
		}
		if tool.name != "sandwich" {
			fmt.Printf(" %s", tool.name)
		}
		if t.photos {
			fmt.Printf(" %.0f/s,", float64(c.rows)/c.time.Seconds())
		} else {
			fmt.Printf(" %s,", seconds(c.time))
		}
		if tool.name != "sandwich" {
			fmt.Printf(" %.1f×,", float64(c.time)/float64(mine.time))
		}
		fmt.Printf(" %d MiB |", c.memory>>20)
	}
	fmt.Println()
	return nil
}

func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.2g ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func size(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%d MB", info.Size()/1e6)
}

// prepare makes the data and the index, unless they are there.
func (b *bench) prepare(ctx context.Context, dir string, photos int) (map[string]string, error) {
	rows := filepath.Join(dir, "openimages", "2018_04", "train")
	files := map[string]string{
		"$BOXES": filepath.Join(rows, "train-annotations-bbox.csv"), "$IMAGES": filepath.Join(rows, "train-images-boxable-with-rotation.csv"),
		"$INDEX": filepath.Join(dir, "index"), "$OUT": filepath.Join(dir, "out"),
	}
	if _, err := os.Stat(files["$INDEX"]); err == nil {
		return files, nil
	}
	// By other processes: what this one has had in memory would count as a peak of the small ones
	// that it starts.
	fresh := files["$INDEX"] + ".new"
	for _, args := range [][]string{{"generate", strconv.Itoa(photos), dir}, {"index", files["$BOXES"], fresh}} {
		command := exec.CommandContext(ctx, os.Args[0], append([]string{"do"}, args...)...)
		command.Stderr = os.Stderr
		if err := command.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w", args[0], err)
		}
	}
	return files, os.Rename(fresh, files["$INDEX"])
}

// generate writes the metadata of so many photos.
func generate(ctx context.Context, photos, dir string) error {
	n, err := strconv.Atoi(photos)
	if err != nil {
		return err
	}
	return synthetic.Dataset{Seed: 1, Photos: n, Shape: synthetic.Official}.WriteMetadata(ctx, func(name string) (io.WriteCloser, error) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		return os.Create(file)
	})
}

// take runs a tool once. All but grep and aria2 tell their own time, without the start of the
// process.
func (b *bench) take(ctx context.Context, t tool, files map[string]string) (cost, error) {
	args := slices.Clone(t.args)
	for i, a := range args {
		args[i] = cmp.Or(files[a], a)
	}
	if err := os.RemoveAll(files["$OUT"]); err != nil {
		return cost{}, err
	}
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Env = append(os.Environ(), "LC_ALL=C", "POLARS_MAX_THREADS="+strconv.Itoa(runtime.GOMAXPROCS(0)))
	if certificate := files["$CERTIFICATE"]; certificate != "" {
		command.Env = append(command.Env, "SSL_CERT_FILE="+certificate) // the mirror's, for Go
	}
	command.Stderr = os.Stderr
	start := time.Now()
	output, err := command.Output()
	c := cost{time: time.Since(start)}
	if err != nil {
		return c, err
	}
	c.memory = peak.Memory(command.ProcessState)
	fields := strings.Fields(string(output))
	if len(fields) == 0 {
		return c, errors.New("no answer")
	}
	if c.rows, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
		return c, err
	}
	if len(fields) > 1 {
		s, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return c, err
		}
		c.time = time.Duration(s * float64(time.Second))
	}
	return c, nil
}

// median takes each figure for itself.
func median(costs []cost) cost {
	if len(costs) == 0 {
		return cost{}
	}
	middle := func(figure func(cost) int64) int64 {
		var all []int64
		for _, c := range costs {
			all = append(all, figure(c))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return cost{
		time:   time.Duration(middle(func(c cost) int64 { return int64(c.time) })),
		memory: middle(func(c cost) int64 { return c.memory }),
		rows:   costs[0].rows,
	}
}

// peers is what DuckDB and Polars are told.
//
//go:embed peers.py
var peers string

// do is what sandwich does, as a process of its own: it prints the rows found and the seconds.
func do(ctx context.Context, args []string) error {
	start := time.Now()
	verb, args := args[0], args[1:]
	var (
		rows int64
		err  error
	)
	switch verb {
	case "scan":
		rows, err = scan(ctx, args[0], openimages.ScanBoxes[[]openimages.Box], func(row *openimages.BoxRow) (openimages.Box, bool) {
			if string(row.LabelID()) != args[1] {
				return openimages.Box{}, false
			}
			return row.Box(), true
		})
	case "images":
		rows, err = scan(ctx, args[0], openimages.ScanImages[[]openimages.Image], func(row *openimages.ImageRow) (openimages.Image, bool) {
			if !strings.HasPrefix(string(row.ImageID()), args[1]) {
				return openimages.Image{}, false
			}
			image, err := row.Image()
			return image, err == nil
		})
	case "generate":
		err = generate(ctx, args[0], args[1])
	case "index":
		rows, err = index(ctx, args[0], args[1])
	case "serve":
		return serve(args[0])
	case "load":
		rows, err = load(ctx, args[0], args[1])
	case "download":
		rows, err = download(ctx, args[0], args[1])
	case "query":
		var data []byte
		if data, err = os.ReadFile(filepath.Join(args[0], boxindex.FileName(openimages.LabelID(args[1])))); err != nil {
			return err
		}
		for _, fault := range boxindex.Boxes(data) {
			err = errors.Join(err, fault)
			rows++
		}
	default:
		err = fmt.Errorf("unknown task %q", verb)
	}
	if err != nil {
		return err
	}
	fmt.Println(rows, time.Since(start).Seconds())
	return nil
}

// index makes an index in a folder.
func index(ctx context.Context, name, folder string) (int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, err
	}
	counts, err := boxindex.Build(ctx, boxindex.Source{Text: file, Name: name}, boxindex.Options{Workers: runtime.GOMAXPROCS(0), Folder: folder},
		func(_ context.Context, name string, r io.Reader) error {
			out, err := os.Create(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			_, err = io.Copy(out, r)
			return errors.Join(err, out.Close())
		})
	return counts.Boxes, err
}
