package exact

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// poolFirst turns
//
//	pool(max(convolution + bias, 0))   into   max(pool(convolution) + bias, 0)
//
// which leaves a fraction of the elements to work on. It is the same function, bit for
// bit: adding a finite number and taking the maximum with a constant are monotone, so
// they commute with the maximum of a window, rounding and NaN included. It needs that
// nobody else looks at the values between, so it is for inference; a training step's
// gradient does look. It returns nil where the pattern is not found.
func (p *plan) poolFirst(n *node) *node {
	if n.op != compute.OpTypeReduceWindow || n.pooling == nil {
		return nil
	}
	relu := n.in[0]
	if !p.passes(relu, compute.OpTypeMax) || !isZero(relu.in[1]) {
		return nil
	}
	sum := relu.in[0]
	if !p.passes(sum, compute.OpTypeAdd) {
		return nil
	}
	conv, bias := sum.in[0], sum.in[1]
	if !p.passes(conv, compute.OpTypeConvGeneral) || !perChannel(bias) {
		return nil
	}
	pooled := n.pooling.build(conv)
	narrow := func(x *node) *node {
		v := steps.View{Strides: x.view.Strides}
		return &node{builder: n.builder, op: x.op, shape: withType(n.shape, x.shape.DType), in: x.in, view: &v}
	}
	added := &node{builder: n.builder, op: sum.op, shape: n.shape, in: []*node{pooled, narrow(bias)}, kernel: sum.kernel}
	result := &node{builder: n.builder, op: relu.op, shape: n.shape, in: []*node{added, narrow(relu.in[1])}, kernel: relu.kernel}
	p.users[conv], p.users[pooled], p.users[added] = []*node{pooled}, []*node{added}, []*node{result}
	p.keep[result] = true
	return result
}

// passes says whether a node is an operation whose value has one user.
func (p *plan) passes(n *node, op compute.OpType) bool {
	return n.op == op && !p.planned(n) && len(p.users[n]) == 1 && !p.keep[n]
}

// perChannel says whether a node repeats one value for each element of the last axis.
func perChannel(n *node) bool {
	if n.op != compute.OpTypeBroadcastInDim || n.view == nil || n.shape.DType != dtypes.Float32 {
		return false
	}
	for axis, s := range n.view.Strides {
		if s != 0 && axis != n.shape.Rank()-1 {
			return false
		}
	}
	return true
}

// isZero says whether a node is +0 everywhere.
func isZero(n *node) bool {
	if !perChannel(n) {
		return false
	}
	c := n.in[0]
	for c.alias {
		c = c.in[0]
	}
	return c.constant != nil && c.shape.Size() == 1 && c.shape.DType == dtypes.Float32 && *(*uint32)(c.constant.Base()) == 0
}
