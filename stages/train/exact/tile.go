package exact

import "fmt"

// chooseTile returns the kernels of a name, or the fastest that the processor has.
func chooseTile(name string) (tile, error) {
	portable := tile{"portable", portableTile}
	all := append(assembled(), portable)
	if name == "" {
		return all[0], nil
	}
	for _, t := range all {
		if t.name == name {
			return t, nil
		}
	}
	return tile{}, fmt.Errorf("exact backend: kernels %q: this processor has %s", name, names(all))
}

func names(all []tile) string {
	list := ""
	for i, t := range all {
		if i > 0 {
			list += ", "
		}
		list += t.name
	}
	return list
}
