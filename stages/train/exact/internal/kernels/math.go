package kernels

import (
	"math"

	"github.com/gomlx/compute"

	"github.com/sandwich-build/sandwich/stages/train/exact/portable"
)

// The functions below are computed in float64 and rounded once to float32, if that is
// the type and narrow.go does not have them.
var unaryMath = map[compute.OpType]func(float64) float64{
	compute.OpTypeCeil:     math.Ceil,
	compute.OpTypeCos:      portable.Cos,
	compute.OpTypeErf:      portable.Erf,
	compute.OpTypeExp:      portable.Exp,
	compute.OpTypeExpm1:    portable.Expm1,
	compute.OpTypeFloor:    math.Floor,
	compute.OpTypeLog:      portable.Log,
	compute.OpTypeLog1p:    portable.Log1p,
	compute.OpTypeLogistic: portable.Logistic,
	compute.OpTypeRound:    math.RoundToEven,
	compute.OpTypeRsqrt:    func(x float64) float64 { return 1 / math.Sqrt(x) },
	compute.OpTypeSin:      portable.Sin,
	compute.OpTypeTanh:     portable.Tanh,
}

var binaryMath = map[compute.OpType]func(x, y float64) float64{
	compute.OpTypeAtan2: portable.Atan2,
	compute.OpTypePow:   portable.Pow,
	compute.OpTypeRem:   math.Mod,
}
