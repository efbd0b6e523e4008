package photo_test

import (
	"testing"

	"github.com/sandwich-build/sandwich/internal/arm64test"
)

func TestGoldenOnARM64(t *testing.T) { arm64test.Run(t, "^(TestGoldenCuts|TestProfiles)$") }
