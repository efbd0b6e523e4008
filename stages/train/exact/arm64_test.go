package exact

import (
	"testing"

	"github.com/sandwich-build/sandwich/internal/arm64test"
)

func TestTrainingGivesTheSameBitsOnARM64(t *testing.T) {
	arm64test.Run(t, "^TestTrainingGivesTheSameBits$/^workers=2,")
}
