package doctor

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// Store asks what the folder of the cache is like.
func Store(dir string) Check {
	const name = "store"
	return Check{name, func(ctx context.Context) []Finding {
		c, err := disk.Inspect(ctx, dir)
		if err != nil {
			return []Finding{ill(name, Fault, err.Error(), otherStore)}
		}
		return []Finding{folder(c, dir), fileSystem(c), space(c), locks(c)}
	}}
}

const otherStore = "export SANDWICH_CACHE=/another/folder"

// folder is whether the store can be written to, and whose it is.
func folder(c disk.Condition, dir string) Finding {
	const name = "store"
	text, there := c.Folder, true
	if abs, err := filepath.Abs(dir); err == nil && abs != c.Folder {
		text, there = dir+" will be made in "+c.Folder, false
	}
	own := c.Owner < 0 || c.Owner == os.Geteuid()
	if c.Write != nil {
		mend := []string{otherStore}
		if !own {
			mend = append(mend, fmt.Sprintf("sudo chown -R %d %s", os.Geteuid(), c.Folder))
		}
		return ill(name, Fault, fmt.Sprintf("%s cannot be written to: %v", text, c.Write), mend...)
	}
	if there && !own {
		return ill(name, Warning, fmt.Sprintf("%s is %s's, who decides what your builds come to", text, owner(c.Owner)), otherStore)
	}
	return ok(name, "%s, which can be written to", text)
}

// owner is the name of a user, or the number of one without.
func owner(id int) string {
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(id)
}

// maxSkew is by how much the clock of a file system may differ. Those of this machine have the same
// clock, in ticks of up to two seconds.
const maxSkew = 3 * time.Second

// fileSystem is whether what is written stays, and whether its times can be trusted.
func fileSystem(c disk.Condition) Finding {
	const name = "file system"
	kind := c.FileSystem
	if kind == "" {
		kind = "one of a kind that is not known"
	}
	switch {
	case c.Write != nil:
		return ok(name, "%s, in which nothing could be tried", kind)
	case c.Sync != nil:
		return ill(name, Warning, fmt.Sprintf("%s does not make durable what is written (%v): after a loss of power, stages run again", kind, c.Sync), otherStore)
	case !c.ChangeTimes:
		return ill(name, Warning, kind+" does not tell when a file was changed: every file is read again in every build", otherStore)
	case c.Skew.Abs() > maxSkew:
		return ill(name, Warning, fmt.Sprintf("%s has a clock that differs by %v: a change of a file can be missed", kind, c.Skew.Round(time.Second)), fixClock+"   # here and on its server")
	case c.Shared:
		return ill(name, Warning, kind+" is another machine's: locks between machines are only as good as its own, and it is slower; for a team there is cache: {remote: …}", otherStore)
	}
	text := kind + ": durable, with times that can be trusted"
	if c.Clones {
		text += ", and files share their bytes"
	}
	return ok(name, "%s", text)
}

// littleSpace is what a build of some thousand photos takes.
const littleSpace = 2e9

// space is how much may still be written.
func space(c disk.Condition) Finding {
	const name = "space"
	if c.Free < 0 {
		return ok(name, "the system does not tell how much is free")
	}
	text := fmt.Sprintf("%.1f GB are free", float64(c.Free)/1e9)
	if c.Free < littleSpace {
		return ill(name, Warning, text+", and some thousand photos take more", "sandwich cache gc --max-size 10GB --yes", otherStore)
	}
	return ok(name, "%s", text)
}

// locks is who keeps others from the store.
func locks(c disk.Condition) Finding {
	const name = "locks"
	switch {
	case c.Cleaning != nil:
		return ill(name, Warning, c.Cleaning.Error()+": builds wait for it", "# wait until that is done")
	case c.DeadLocks > 0:
		return ok(name, "%d of processes that have died, which are free", c.DeadLocks)
	}
	return ok(name, "none is in the way")
}
