package mem_test

import (
	"testing"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return &mem.Store{} })
}

func TestStoreUnderFaults(t *testing.T) {
	blobtest.RunFaults(t, func(*testing.T) blob.Conditional { return &mem.Store{} })
}
