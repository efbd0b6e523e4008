package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/disk/disktest"
)

func TestStore(t *testing.T) {
	findings := ask(t, Store(disktest.Open(t, t.TempDir()).Root()))
	want(t, findings, "store", OK, "can be written to", "")
	want(t, findings, "file system", OK, "", "")
	want(t, findings, "locks", OK, "none", "")
	above := t.TempDir()
	want(t, ask(t, Store(filepath.Join(above, "new"))), "store", OK, "will be made in "+above, "")
	want(t, ask(t, Store(above)), "store", OK, above+", which can be written to", "")
	file := filepath.Join(above, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	want(t, ask(t, Store(file)), "store", Fault, "not a folder", "export SANDWICH_CACHE")
}

func TestCondition(t *testing.T) {
	fault := errors.New("refused")
	me, nobody := os.Geteuid(), 12345678
	good := disk.Condition{Folder: "/store", Made: true, Owner: me, FileSystem: "ext4", ChangeTimes: true, Free: 1e12}
	for name, test := range map[string]struct {
		of     func(disk.Condition) Finding
		spoil  func(*disk.Condition)
		status Status
		found  string
		mend   string
	}{
		"writable":     {ofFolder, func(*disk.Condition) {}, OK, "/store, which can be written to", ""},
		"read-only":    {ofFolder, func(c *disk.Condition) { c.Write = fault }, Fault, "cannot be written to: refused", otherStore},
		"another's":    {ofFolder, func(c *disk.Condition) { c.Owner = nobody }, Warning, "user 12345678's", otherStore},
		"not mine":     {ofFolder, func(c *disk.Condition) { c.Owner, c.Write = nobody, fault }, Fault, "refused", "sudo chown -R"},
		"unmade":       {ofFolder, func(c *disk.Condition) { c.Owner, c.Folder = nobody, "/" }, OK, "will be made", ""},
		"durable":      {fileSystem, func(*disk.Condition) {}, OK, "ext4: durable", ""},
		"clones":       {fileSystem, func(c *disk.Condition) { c.Clones = true }, OK, "share their bytes", ""},
		"unknown":      {fileSystem, func(c *disk.Condition) { c.FileSystem = "" }, OK, "not known", ""},
		"not tried":    {fileSystem, func(c *disk.Condition) { c.Write = fault }, OK, "nothing could be tried", ""},
		"not durable":  {fileSystem, func(c *disk.Condition) { c.Sync = fault }, Warning, "(refused)", otherStore},
		"no times":     {fileSystem, func(c *disk.Condition) { c.ChangeTimes = false }, Warning, "read again", otherStore},
		"ahead":        {fileSystem, func(c *disk.Condition) { c.Skew = time.Minute }, Warning, "differs by 1m0s", fixClock},
		"behind":       {fileSystem, func(c *disk.Condition) { c.Skew = -time.Minute }, Warning, "differs by -1m0s", fixClock},
		"of a network": {fileSystem, func(c *disk.Condition) { c.Shared, c.FileSystem = true, "nfs" }, Warning, "nfs is another machine's", otherStore},
		"room":         {space, func(*disk.Condition) {}, OK, "1000.0 GB", ""},
		"full":         {space, func(c *disk.Condition) { c.Free = 5e8 }, Warning, "0.5 GB are free", "sandwich cache gc"},
		"not told":     {space, func(c *disk.Condition) { c.Free = -1 }, OK, "does not tell", ""},
		"free":         {locks, func(*disk.Condition) {}, OK, "none", ""},
		"dead":         {locks, func(c *disk.Condition) { c.DeadLocks = 3 }, OK, "3 of processes that have died", ""},
		"cleaning":     {locks, func(c *disk.Condition) { c.Cleaning = &disk.BusyError{Cleaning: true, By: cas.Holder{PID: 7}} }, Warning, "cleaned up", "wait"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			test.spoil(&c)
			f := test.of(c)
			want(t, []Finding{f}, f.Name, test.status, test.found, test.mend)
		})
	}
}

func ofFolder(c disk.Condition) Finding { return folder(c, "/store") }
