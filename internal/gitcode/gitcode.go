// Package gitcode reads the user's own sources at a commit of a git work tree.
//
// It runs the git program: who has a work tree has git, and no second implementation
// of git's rules about filters, submodules and ignored files can disagree with it.
package gitcode

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// ErrNoRepository says that a folder is not in a git work tree with a commit.
var ErrNoRepository = errors.New("not in a git work tree with a commit")

// DirtyError says that the work tree holds changes that no commit has.
type DirtyError struct {
	Dir   string
	Paths []string // at most a few, as git prints them
}

func (e *DirtyError) Error() string {
	return fmt.Sprintf("code %s: uncommitted changes: %s", e.Dir, strings.Join(e.Paths, ", "))
}

// maxDirty is how many changed paths a DirtyError names.
const maxDirty = 5

// Commit is a folder of a git repository at a commit.
type Commit struct {
	ID   string   // the commit's full hash
	Tree cas.Tree // the folder's files at that commit
}

// Read stores the files that the commit checked out in dir has at and below dir, and
// returns them with the commit. The folder is looked at as it was committed; symbolic
// links and submodules are left out.
//
// skip names files, relative to dir, that are neither read nor make the tree dirty:
// those that sandwich itself writes. Uncommitted changes below dir end Read with a
// *DirtyError, unless allowDirty is set; then dirty reports them.
func Read(ctx context.Context, store cas.Store, dir string, skip []string, allowDirty bool) (c Commit, dirty bool, err error) {
	head, err := git(ctx, dir, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return Commit{}, false, fmt.Errorf("code %s: %w: %w", dir, ErrNoRepository, err)
	}
	changed, err := changes(ctx, dir, skip)
	if err != nil {
		return Commit{}, false, fmt.Errorf("code %s: %w", dir, err)
	}
	if len(changed) > 0 && !allowDirty {
		return Commit{}, true, &DirtyError{Dir: dir, Paths: changed[:min(len(changed), maxDirty)]}
	}
	c.ID = strings.TrimSpace(string(head))
	if c.Tree, err = readTree(ctx, store, dir, c.ID, skip); err != nil {
		return Commit{}, false, fmt.Errorf("code %s: %w", dir, err)
	}
	return c, len(changed) > 0, nil
}

// changes lists the paths below dir that differ from the commit.
func changes(ctx context.Context, dir string, skip []string) ([]string, error) {
	args := []string{"status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal", "--", "."}
	for _, name := range skip {
		args = append(args, ":(exclude)"+name)
	}
	out, err := git(ctx, dir, args...)
	if err != nil {
		return nil, err
	}
	var paths []string
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if len(entry) > len("XY ") {
			paths = append(paths, entry[len("XY "):])
		}
	}
	return paths, nil
}

// object is a file of a commit.
type object struct{ name, hash string }

func readTree(ctx context.Context, store cas.Store, dir, commit string, skip []string) (cas.Tree, error) {
	// In a folder below the root, ls-tree lists that folder only, with paths relative
	// to it.
	out, err := git(ctx, dir, "ls-tree", "-r", "-z", commit)
	if err != nil {
		return cas.Tree{}, err
	}
	skipped := make(map[string]bool, len(skip))
	for _, name := range skip {
		skipped[path.Clean(name)] = true
	}
	var objects []object
	for entry := range strings.SplitSeq(string(out), "\x00") {
		attributes, name, ok := strings.Cut(entry, "\t")
		fields := strings.Fields(attributes) // mode, type, hash
		if !ok || len(fields) != 3 || !strings.HasPrefix(fields[0], "100") || skipped[name] {
			continue
		}
		objects = append(objects, object{name: name, hash: fields[2]})
	}
	return readObjects(ctx, store, dir, objects)
}

// readObjects copies the objects from one git process into the store.
func readObjects(ctx context.Context, store cas.Store, dir string, objects []object) (_ cas.Tree, err error) {
	var asked bytes.Buffer
	for _, o := range objects {
		fmt.Fprintln(&asked, o.hash)
	}
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "cat-file", "--batch")
	cmd.Stdin = &asked
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return cas.Tree{}, err
	}
	if err := cmd.Start(); err != nil {
		return cas.Tree{}, err
	}
	tree, err := storeBatch(ctx, store, bufio.NewReader(stdout), objects)
	if err != nil {
		_ = cmd.Process.Kill() // it may wait for a reader; why it ends is known already
		_ = cmd.Wait()
		return cas.Tree{}, err
	}
	return tree, cmd.Wait()
}

// storeBatch reads the output of cat-file --batch: for each object a line
// "hash type size", its bytes and a newline.
func storeBatch(ctx context.Context, store cas.Store, r *bufio.Reader, objects []object) (cas.Tree, error) {
	b := cas.NewBuilder(store)
	for _, o := range objects {
		line, err := r.ReadString('\n')
		if err != nil {
			return cas.Tree{}, fmt.Errorf("git cat-file %s: %w", o.name, err)
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return cas.Tree{}, fmt.Errorf("git cat-file %s: answered %q", o.name, strings.TrimSpace(line))
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return cas.Tree{}, fmt.Errorf("git cat-file %s: %w", o.name, err)
		}
		if err := b.Put(ctx, o.name, io.LimitReader(r, size)); err != nil {
			return cas.Tree{}, err
		}
		if _, err := r.Discard(1); err != nil {
			return cas.Tree{}, fmt.Errorf("git cat-file %s: %w", o.name, err)
		}
	}
	return b.Commit(ctx)
}

// git runs git in dir and returns what it printed.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
