package cas_test

import (
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/castest"
)

func TestMemory(t *testing.T) {
	castest.Run(t, func(*testing.T) castest.Store { return cas.NewMemory() })
}

// FuzzDecodeResult reads results of any bytes: what is not refused is read again as the
// same.
func FuzzDecodeResult(f *testing.F) {
	good, err := cas.EncodeResult(cas.Sum(nil), cas.Result{Tree: cas.NewTreeID(cas.Sum(nil)), Counters: map[string]int64{"crops": 3}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		action, r, ok := cas.DecodeResult(data)
		if !ok {
			return
		}
		again, err := cas.EncodeResult(action, r)
		if err != nil {
			t.Fatal(err)
		}
		if a, b, ok := cas.DecodeResult(again); !ok || a != action || b.Tree != r.Tree {
			t.Errorf("%v %v is read as %v %v", action, r, a, b)
		}
	})
}
