// Package architecture holds the layers of the project as a test: which package may
// import which. It fails on an import that is not in the table, on a package without a
// row, and on a row that promises more than the code needs.
package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sandwich-build/sandwich/"

// layers lists, from the top down, each package with the packages of this project that
// it imports. A package may only import what stands below it.
var layers = []struct{ name, imports string }{
	{"cmd/sandwich", "internal/cli"},
	{"internal/cli", "internal/attest internal/boxindex internal/catalog internal/conda internal/cosign internal/dirindex internal/doctor internal/environment internal/fetch internal/gitcode internal/history internal/image/build internal/lazyregexp internal/model internal/nearby internal/neural internal/openimages internal/packagediff internal/photo internal/pin internal/pip internal/pipeline internal/provenance internal/reproduce internal/sandbox internal/sharedcache internal/ui manifest manifest/lock registry registry/blob registry/blob/s3 registry/folder registry/objects registry/quilt registry/transfer stages stages/cas stages/cas/disk stages/cas/upkeep stages/cas/worktree stages/command stages/crop stages/download stages/evaluate stages/select stages/train stages/worker"},
	{"internal/reproduce", "internal/cropfile internal/dirindex internal/fetch internal/pipeline internal/provenance internal/table manifest/lock registry registry/quilt stages stages/cas stages/cas/disk stages/cas/worktree stages/metadata"},
	{"bench/accuracy", "manifest stages stages/cas stages/evaluate stages/train"},
	{"bench/train", "bench/peer internal/model internal/neural internal/random manifest stages stages/cas stages/train stages/train/exact"},
	{"internal/doctor", "internal/conda internal/cosign internal/environment internal/image internal/image/build internal/machine internal/neural internal/pip internal/sandbox manifest manifest/lock registry/blob registry/blob/s3 stages/cas/disk"},
	{"internal/pipeline", "internal/boxindex internal/catalog internal/conda internal/conda/archive internal/cropfile internal/dataset internal/environment internal/fetch internal/gitcode internal/history internal/image internal/image/build internal/image/pull internal/image/rootfs internal/machine internal/memo internal/model internal/neural internal/openimages internal/pin internal/pinfile internal/pip internal/provenance internal/sandbox internal/unpacked internal/wheel internal/workdir manifest manifest/lock registry registry/blob/s3 registry/objects registry/quilt registry/transfer stages stages/archives stages/cas stages/cas/disk stages/cas/upkeep stages/command stages/conda stages/crop stages/download stages/evaluate stages/image stages/metadata stages/pack stages/quality stages/report stages/select stages/split stages/train stages/wheels stages/worker"},
	{"bench/data", "bench/peak internal/boxindex internal/fetch internal/openimages internal/pin internal/pinfile internal/synthetic stages/cas/disk"},
	{"internal/cosign", "internal/attest internal/provenance registry/quilt"},
	{"stages/evaluate", "internal/cropfile internal/model internal/neural internal/photo internal/table stages"},
	{"stages/train", "internal/cropfile internal/model internal/neural internal/photo internal/random internal/table manifest stages stages/cas stages/train/exact/portable"},
	{"internal/attest", "internal/provenance registry/quilt"},
	{"internal/neural", "internal/model internal/random manifest stages/train/exact stages/train/exact/portable"},
	{"internal/pin", "internal/dataset internal/dirindex internal/fetch internal/lazyregexp internal/openimages internal/pinfile internal/sorted internal/table manifest manifest/lock stages stages/cas"},
	{"internal/synthetic/mirror", "internal/mirrortest internal/synthetic"},
	{"internal/synthetic/writefolders", "internal/synthetic"},
	{"stages/archives/archivestest", "stages/archives stages/cas"},
	{"stages/conda", "internal/conda/archive stages stages/archives stages/cas stages/cas/worktree"},
	{"stages/crop", "internal/cropfile internal/openimages internal/photo internal/photo/jpeg internal/pinfile internal/table internal/upright manifest stages stages/cas stages/items stages/pictures"},
	{"stages/pack", "internal/conda/archive internal/cropfile internal/licence internal/openimages internal/pinfile internal/provenance internal/table internal/wheel stages stages/cas"},
	{"stages/quality", "internal/cropfile internal/likeness internal/luma internal/openimages internal/photo internal/pinfile internal/table internal/upright manifest stages stages/cas stages/items stages/pictures"},
	{"stages/report", "internal/cropfile internal/openimages internal/photo internal/pinfile internal/sheet internal/table internal/upright stages stages/cas stages/items stages/pictures"},
	{"stages/wheels", "internal/wheel stages stages/archives stages/cas stages/cas/worktree"},
	{"stages/worker", "stages stages/worker/internal/wire"},
	{"bench/crop", "bench/peer internal/photo internal/photo/jpeg"},
	{"internal/conda", "internal/conda/archive internal/lazyregexp internal/sandbox manifest"},
	{"internal/dataset", "internal/openimages internal/table manifest stages/cas"},
	{"internal/history", "manifest stages stages/cas"},
	{"internal/likeness", "internal/luma internal/photo"},
	{"internal/model", "internal/onnx internal/photo internal/random manifest"},
	{"internal/nearby", "registry/quilt stages/cas stages/cas/disk"},
	{"internal/provenance", "internal/lazyregexp internal/table stages stages/cas"},
	{"internal/sharedcache", "registry/blob registry/blob/dir registry/blob/s3 stages stages/cas"},
	{"internal/synthetic", "internal/dice internal/drawing"},
	{"internal/ui", "manifest stages stages/cas"},
	{"internal/upright", "internal/openimages internal/photo internal/pinfile"},
	{"registry", "registry/blob registry/blob/dir registry/blob/https registry/blob/s3 registry/folder registry/objects registry/quilt registry/transfer"},
	{"stages/archives", "stages stages/cas"},
	{"stages/cas/disk/disktest", "stages/cas/disk"},
	{"stages/cas/upkeep", "stages/cas stages/cas/disk"},
	{"stages/command", "internal/dirindex internal/sandbox internal/workdir manifest stages stages/cas/worktree"},
	{"stages/download", "internal/fetch internal/pinfile internal/table stages stages/cas stages/items"},
	{"stages/image", "internal/image stages stages/cas"},
	{"stages/metadata", "internal/boxindex stages stages/cas"},
	{"stages/pictures", "internal/photo stages stages/cas stages/items"},
	{"stages/select", "internal/boxindex internal/licence internal/openimages internal/sorted manifest stages stages/cas"},
	{"stages/split", "internal/cropfile internal/openimages internal/table manifest stages"},
	{"stages/stagetest", "stages stages/cas"},
	{"stages/train/exact", "stages/train/exact/internal/kernels stages/train/exact/internal/program stages/train/exact/internal/steps"},
	{"stages/worker/internal/wire", "stages stages/cas"},
	{"internal/catalog", "internal/boxindex internal/openimages"},
	{"internal/drawing", "internal/dice"},
	{"internal/image/build", "internal/image"},
	{"internal/image/rootfs", "internal/image internal/unpacked stages/cas"},
	{"internal/packagediff", "internal/openimages internal/pinfile manifest/lock registry/quilt"},
	{"internal/photo", "internal/photo/internal/kernels internal/photo/jpeg"},
	{"internal/pip", "internal/sandbox internal/wheel"},
	{"manifest", "internal/lazyregexp internal/licence"},
	{"registry/folder", "internal/clone internal/flush registry/objects registry/quilt registry/transfer"},
	{"stages", "stages/cas stages/items"},
	{"stages/cas/disk", "internal/clone internal/stamp stages/cas stages/cas/pack"},
	{"stages/cas/worktree", "internal/dirindex stages/cas"},
	{"stages/train/exact/internal/steps", "stages/train/exact/internal/kernels stages/train/exact/internal/program"},
	{"bench/engine", "bench/peak"},
	{"internal/boxindex", "internal/openimages internal/parquet"},
	{"internal/conda/archive", "internal/lazyregexp"},
	{"internal/cropfile", "internal/openimages internal/table"},
	{"internal/dice", "internal/random"},
	{"internal/dirindex", "internal/stamp"},
	{"internal/fetch", "registry/transfer"},
	{"internal/gitcode", "stages/cas"},
	{"internal/image", "stages/cas"},
	{"internal/licence", "internal/lazyregexp"},
	{"internal/memo", "internal/stamp stages/cas"},
	{"internal/photo/jpeg", "internal/photo/internal/kernels"},
	{"internal/pinfile", "internal/openimages internal/table stages/cas"},
	{"internal/unpacked", "internal/flush"},
	{"internal/wheel", "internal/lazyregexp"},
	{"manifest/lock", "internal/lazyregexp internal/sorted"},
	{"registry/blob/blobtest", "registry/blob"},
	{"registry/blob/dir", "internal/flush registry/blob"},
	{"registry/blob/https", "registry/blob registry/blob/retry"},
	{"registry/blob/mem", "registry/blob"},
	{"registry/blob/s3", "registry/blob registry/blob/retry registry/quilt"},
	{"registry/objects", "registry/blob registry/quilt registry/transfer"},
	{"stages/cas/castest", "stages/cas"},
	{"stages/cas/pack", "stages/cas"},
	{"stages/items", "stages/cas"},
	{"stages/train/exact/internal/kernels", "stages/train/exact/portable"},
	{"bench/peak", ""},
	{"bench/peer", ""},
	{"examples", ""},
	{"internal/architecture", ""},
	{"internal/arm64test", ""},
	{"internal/assemblytest", ""},
	{"internal/clone", ""},
	{"internal/conda/condatest", ""},
	{"internal/environment", ""},
	{"internal/flush", ""},
	{"internal/image/imagetest", ""},
	{"internal/image/pull", ""},
	{"internal/lazyregexp", ""},
	{"internal/luma", ""},
	{"internal/machine", ""},
	{"internal/mirrortest", ""},
	{"internal/onnx", ""},
	{"internal/openimages", ""},
	{"internal/openimages/generate", ""},
	{"internal/parquet", ""},
	{"internal/photo/internal/kernels", ""},
	{"internal/photo/internal/kernels/generate", ""},
	{"internal/random", ""},
	{"internal/s3test", ""},
	{"internal/sandbox", ""},
	{"internal/sandbox/enginetest", ""},
	{"internal/shared", ""},
	{"internal/sheet", ""},
	{"internal/sigstoretest", ""},
	{"internal/sorted", ""},
	{"internal/stamp", ""},
	{"internal/table", ""},
	{"internal/wheel/wheeltest", ""},
	{"internal/workdir", ""},
	{"registry/blob", ""},
	{"registry/blob/retry", ""},
	{"registry/quilt", ""},
	{"registry/transfer", ""},
	{"stages/cas", ""},
	{"stages/train/exact/internal/kernels/generate", ""},
	{"stages/train/exact/internal/program", ""},
	{"stages/train/exact/portable", ""},
}

func TestImportsPointDown(t *testing.T) {
	have := packages(t)
	rank := make(map[string]int)
	for i, row := range layers {
		rank[row.name] = i
	}
	for _, row := range layers {
		imports, ok := have[row.name]
		if !ok {
			t.Errorf("%s is in the table, but not in the project", row.name)
			continue
		}
		delete(have, row.name)
		want := strings.Fields(row.imports)
		slices.Sort(want)
		if !slices.Equal(imports, want) {
			t.Errorf("%s imports\n     %s\nwant %s", row.name, strings.Join(imports, " "), strings.Join(want, " "))
		}
		for _, name := range want {
			if rank[name] <= rank[row.name] {
				t.Errorf("%s imports %s, which does not stand below it in the table", row.name, name)
			}
		}
	}
	for name, imports := range have {
		t.Errorf("%s has no row in the table; it imports %s", name, strings.Join(imports, " "))
	}
}

// packages returns the packages of the project, with the packages of the project that
// each imports, sorted. It reads the sources itself: go test knows then which files the
// result depends on, and does not repeat an old one.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	const root = "../.."
	all := make(map[string][]string)
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || (strings.HasPrefix(e.Name(), ".") && name != root)):
			return filepath.SkipDir
		case !strings.HasSuffix(name, ".go") || (strings.HasSuffix(name, "_test.go") && e.Name() != "architecture_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		imports := all[filepath.ToSlash(dir)]
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if below, ok := strings.CutPrefix(path, module); ok {
				imports = append(imports, below)
			}
		}
		slices.Sort(imports)
		all[filepath.ToSlash(dir)] = slices.Compact(imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
