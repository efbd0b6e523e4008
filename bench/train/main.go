//go:build unix

// Command train measures training and inference of the article's network with package
// exact and with PyTorch, in turns, and prints medians and ratios. See README.md.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/train:", err)
		os.Exit(1)
	}
}

// setting is what one comparison is about.
type setting struct{ threads, side, batch int }

// peer is another program to compare with.
type peer struct {
	name    string
	command []string // the setting's numbers are appended
}

func run() error {
	var peers []peer
	flag.Func("peer", "`name=command` that runs pytorch.py, in the way to compare with; may be repeated", func(s string) error {
		name, command, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want name=command")
		}
		peers = append(peers, peer{name, strings.Fields(command)})
		return nil
	})
	rounds := flag.Int("rounds", 7, "how many `times` each is measured")
	seconds := flag.Float64("seconds", 1, "how `long` a measurement takes")
	growth := flag.Bool("growth", false, "measure ours alone, from 32 to 256 pixels and from 1 to 128 pictures")
	whole := flag.Bool("loop", false, "measure ours alone: the training stage beside its bare step")
	one := flag.Int("threads", 0, "measure with this `number` of threads only; 1 and 2 by default")
	serve := flag.String("serve", "", "be the measured process: threads,side,batch")
	flag.Parse()
	if *serve != "" {
		var s setting
		if _, err := fmt.Sscanf(*serve, "%d,%d,%d", &s.threads, &s.side, &s.batch); err != nil {
			return fmt.Errorf("-serve %s: %w", *serve, err)
		}
		return s.serve(os.Stdin, os.Stdout)
	}
	threads := []int{1, 2}
	if *one != 0 {
		threads = []int{*one}
	}
	if *whole {
		return loop(os.Stdout, threads, *rounds)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours := peer{name: "sandwich", command: []string{self, "-serve"}}
	if *growth {
		return grow(ours, *rounds, *seconds)
	}
	for _, n := range threads {
		if err := compare(setting{n, 128, 16}, ours, peers, *rounds, *seconds); err != nil {
			return err
		}
	}
	return nil
}

// contestant is a running process that is measured.
type contestant struct {
	name    string
	version string
	in      io.WriteCloser
	out     *bufio.Scanner
	cmd     *exec.Cmd
	steps   map[string]int // that take a measurement's time
	samples map[string][]sample
	peak    float64 // MiB
}

// sample is one measurement.
type sample struct{ clock, processor float64 } // images per second of either

func start(p peer, s setting) (*contestant, error) {
	command := slices.Clone(p.command)
	if command[len(command)-1] == "-serve" {
		command = append(command, fmt.Sprintf("%d,%d,%d", s.threads, s.side, s.batch))
	} else {
		command = append(command, strconv.Itoa(s.threads), strconv.Itoa(s.side), strconv.Itoa(s.batch))
	}
	c := &contestant{name: p.name, steps: make(map[string]int), samples: make(map[string][]sample)}
	c.cmd = exec.Command(command[0], command[1:]...) //nolint:noctx // it ends when its input does
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.in, c.out = in, bufio.NewScanner(out)
	if c.version, err = c.line(); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *contestant) line() (string, error) {
	if !c.out.Scan() {
		return "", errors.Join(fmt.Errorf("%s ended", c.name), c.out.Err())
	}
	return c.out.Text(), nil
}

func (c *contestant) stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// do runs steps and returns their time on the clock and of the processor.
func (c *contestant) do(what string, steps int) (clock, processor float64, err error) {
	if _, err := fmt.Fprintln(c.in, what, steps); err != nil {
		return 0, 0, err
	}
	line, err := c.line()
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(line, &clock, &processor, &c.peak); err != nil {
		return 0, 0, fmt.Errorf("%s says %q: %w", c.name, line, err)
	}
	return clock, processor, nil
}

// measure takes one sample, after finding out how many steps that is.
func (c *contestant) measure(what string, batch int, seconds float64) error {
	for c.steps[what] == 0 {
		const warm = 3
		if _, _, err := c.do(what, warm); err != nil {
			return err
		}
		clock, _, err := c.do(what, warm)
		if err != nil {
			return err
		}
		c.steps[what] = max(1, int(seconds/clock*warm))
	}
	clock, processor, err := c.do(what, c.steps[what])
	images := float64(c.steps[what] * batch)
	c.samples[what] = append(c.samples[what], sample{images / clock, images / processor})
	return err
}

// median returns the medians of all samples.
func (c *contestant) median(what string) sample {
	middle := func(of func(sample) float64) float64 {
		list := make([]float64, len(c.samples[what]))
		for i, s := range c.samples[what] {
			list[i] = of(s)
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return sample{middle(func(s sample) float64 { return s.clock }), middle(func(s sample) float64 { return s.processor })}
}

var phases = []string{"train", "infer"}

// flops is how many operations on numbers an image of the article's network takes at
// 128 pixels.
var flops = map[string]float64{"train": 352.1e6, "infer": 126.5e6}

func compare(s setting, ours peer, peers []peer, rounds int, seconds float64) (err error) {
	var list []*contestant
	defer func() {
		for _, c := range list {
			err = errors.Join(err, c.stop())
		}
	}()
	for _, p := range append([]peer{ours}, peers...) {
		c, err := start(p, s)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	for range rounds {
		for _, what := range phases {
			for _, c := range list {
				if err := c.measure(what, s.batch, seconds); err != nil {
					return err
				}
			}
		}
		if err := list[0].measure("peak", 1, seconds/4); err != nil {
			return err
		}
	}
	peak := list[0].median("peak") // in GFLOP
	fmt.Printf("\n%d threads, %d × %d pixels, batch %d; limit %.1f GFLOP/s a core\n\n", s.threads, s.side, s.side, s.batch, peak.processor)
	fmt.Println("| | version | train, images/s | a core | of the limit | infer, images/s | a core | of the limit | peak MiB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, c := range list {
		fmt.Printf("| %s | %s |", c.name, c.version)
		for _, what := range phases {
			m := c.median(what)
			fmt.Printf(" %.1f | %.1f | %.2f |", m.clock, m.processor, m.processor*flops[what]/1e9/peak.processor)
		}
		fmt.Printf(" %.0f |\n", c.peak)
	}
	for _, c := range list[1:] {
		fmt.Printf("\nsandwich to %s:", c.name)
		for _, what := range phases {
			a, b := list[0].median(what), c.median(what)
			fmt.Printf(" %s %.2f× by the clock, %.2f× by processor time;", what, a.clock/b.clock, a.processor/b.processor)
		}
		fmt.Printf(" memory %.2f×\n", list[0].peak/c.peak)
	}
	return nil
}

// grow prints ours over sizes and batches.
func grow(ours peer, rounds int, seconds float64) error {
	sides, batches := []int{32, 64, 128, 256}, []int{1, 4, 16, 64, 128}
	for _, what := range phases {
		fmt.Printf("\n%s, images/s on 2 threads, by side and batch\n\n|", what)
		for _, b := range batches {
			fmt.Printf(" | %d", b)
		}
		fmt.Print(" |\n|---|" + strings.Repeat("---|", len(batches)) + "\n")
		for _, side := range sides {
			fmt.Printf("| %d |", side)
			for _, batch := range batches {
				rate, err := alone(ours, setting{2, side, batch}, what, rounds, seconds)
				if err != nil {
					return err
				}
				fmt.Printf(" %.0f |", rate)
			}
			fmt.Println()
		}
	}
	return nil
}

func alone(p peer, s setting, what string, rounds int, seconds float64) (rate float64, err error) {
	c, err := start(p, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	for range rounds {
		if err := c.measure(what, s.batch, seconds); err != nil {
			return 0, err
		}
	}
	return c.median(what).clock, nil
}
