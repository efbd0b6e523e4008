package exact

import (
	"slices"

	"github.com/gomlx/compute"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// longest bounds a chain, so that its registers fit the second-level cache.
const longest = 24

// fuse plans a node and every element-wise node that can be computed along with it.
func (p *plan) fuse(root *node) program.Slot {
	c := &steps.Chain{Size: root.shape.Size(), Width: root.shape.DType.Size()}
	index := make(map[*node]int)
	for i, n := range p.group(root) {
		l := steps.Link{Kernel: n.kernel, Count: len(n.in)}
		for k, x := range n.in {
			if at, ok := index[x]; ok {
				l.In[k] = at
				continue
			}
			index[x] = len(c.Operands)
			l.In[k] = len(c.Operands)
			c.Operands = append(c.Operands, p.operand(x, c.Size))
		}
		index[n] = -1 - i
		c.Links = append(c.Links, l)
	}
	c.Result = p.Temporary(byteSize(root.shape))
	c.Plan(&p.Plan)
	return c.Result
}

// group returns the nodes of a chain in an order in which they can be computed: root,
// and before it every element-wise node of its size that only the chain uses.
func (p *plan) group(root *node) []*node {
	in := map[*node]bool{root: true}
	candidates := []*node{root}
	for changed := true; changed && len(candidates) < longest; {
		changed = false
		for _, n := range slices.Clone(candidates) {
			for _, x := range n.in {
				if len(candidates) < longest && !in[x] && p.joins(x, root, in) {
					in[x], changed = true, true
					candidates = append(candidates, x)
				}
			}
		}
	}
	return inOrder(root, in)
}

func (p *plan) joins(x, root *node, in map[*node]bool) bool {
	if p.planned(x) || x.kernel == nil || p.keep[x] || x.shape.Size() != root.shape.Size() {
		return false
	}
	return !slices.ContainsFunc(p.users[x], func(u *node) bool { return !in[u] })
}

// inOrder lists the members of a set that root depends on, operands first.
func inOrder(root *node, in map[*node]bool) []*node {
	var list []*node
	done := make(map[*node]bool)
	var visit func(n *node)
	visit = func(n *node) {
		if !in[n] || done[n] {
			return
		}
		done[n] = true
		for _, x := range n.in {
			visit(x)
		}
		list = append(list, n)
	}
	visit(root)
	return list
}

// operand looks through a broadcast of a scalar, or of the last axes along the first:
// the chain repeats those itself.
func (p *plan) operand(x *node, size int) steps.Operand {
	o := steps.Operand{Width: x.shape.DType.Size(), Period: size}
	for x.alias {
		x = x.in[0]
	}
	if x.op == compute.OpTypeBroadcastInDim && x.view != nil && !p.planned(x) && repeats(x) {
		o.Period = x.in[0].shape.Size()
		x = x.in[0]
	}
	o.From = p.slot(x)
	return o
}

// repeats says whether a broadcast is its operand over and over.
func repeats(x *node) bool {
	dims := x.shape.Dimensions
	next, axis := 1, len(dims)-1
	for ; axis >= 0 && (x.view.Strides[axis] == next || dims[axis] == 1); axis-- {
		next *= dims[axis]
	}
	for ; axis >= 0; axis-- {
		if x.view.Strides[axis] != 0 && dims[axis] != 1 {
			return false
		}
	}
	return x.in[0].shape.Size() == next
}
