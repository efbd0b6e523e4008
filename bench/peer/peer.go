// Package peer runs programs that are compared: each is a process of its own that waits
// while another one works.
//
// A program prints its version when it is ready. Then each line that it reads is a
// measurement, which it answers with three numbers: seconds on the clock, seconds of the
// processor, and the most memory that it has had, in MiB. It ends when its input does.
package peer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Program is a program to compare with.
type Program struct {
	Name    string
	Command []string
}

// Programs are the values of a flag that may be repeated, name=command.
type Programs []Program

// String returns nothing: there are no programs by default.
func (*Programs) String() string { return "" }

// Set appends a program.
func (l *Programs) Set(text string) error {
	name, command, ok := strings.Cut(text, "=")
	if !ok || strings.TrimSpace(command) == "" {
		return errors.New("want name=command")
	}
	*l = append(*l, Program{name, strings.Fields(command)})
	return nil
}

// Process is a program at work.
type Process struct {
	Name, Version string
	Peak          float64 // the most memory so far, MiB

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// Start starts a program with more arguments, and waits until it is ready. Close it.
func Start(p Program, arguments ...string) (*Process, error) {
	command := append(p.Command[1:len(p.Command):len(p.Command)], arguments...)
	c := &Process{Name: p.Name, cmd: exec.Command(p.Command[0], command...)} //nolint:noctx // it ends when its input does
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
	if c.Version, err = c.line(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Process) line() (string, error) {
	if !c.out.Scan() {
		return "", errors.Join(fmt.Errorf("%s ended", c.Name), c.out.Err())
	}
	return c.out.Text(), nil
}

// Measure has the process do what the words say, and returns the seconds that it took on
// the clock and of the processor.
func (c *Process) Measure(words ...any) (clock, processor float64, err error) {
	if _, err := fmt.Fprintln(c.in, words...); err != nil {
		return 0, 0, err
	}
	line, err := c.line()
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(line, &clock, &processor, &c.Peak); err != nil {
		return 0, 0, fmt.Errorf("%s says %q: %w", c.Name, line, err)
	}
	return clock, processor, nil
}

// Close ends the process, and returns an error if it failed.
func (c *Process) Close() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }
