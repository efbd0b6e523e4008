package sharedcache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// A table says where in packs the blobs of a result lie:
//
//	"swt1" · number of packs 4 · number of rows 4
//	each pack: name 32 · size 8 · day 4
//	each row:  SHA-256 32 · size 8 · pack 4 · offset 8
//
// Numbers are little endian. Rows are in the order of their bytes in the packs, so that
// neighbours can be read at once.
//
// It stays in this form in memory, 56 bytes a blob, because a process may have the tables of
// several results with 100,000 blobs each.
type table struct {
	packs []pack
	rows  []byte
	bySum []uint32 // numbers of rows, in the order of their sums
}

const (
	tableMagic = "swt1"
	tableHead  = 12
	packBytes  = sha256.Size + 12
	rowBytes   = sha256.Size + 20
	// maxTable bounds a table that is read: five million blobs.
	maxTable = 256 << 20
)

// pack is an object that holds blobs, one after the other.
type pack struct {
	name [sha256.Size]byte // see packName
	size int64             // bytes
	day  uint32            // of its upload, since 1970
}

// row is a blob and where it lies.
type row struct {
	digest cas.Digest
	pack   pack
	offset int64
}

// packName names a pack by the blobs in it, so that two machines which upload the same
// blobs write the same object, and a blob that fills a pack is found by its digest alone.
func packName(blobs []cas.Digest) [sha256.Size]byte {
	h := sha256.New()
	for _, d := range blobs {
		sum := d.SHA256()
		h.Write(sum[:])
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(d.Size())))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// encodeTable returns the table of rows, whose order does not matter.
func encodeTable(rows []row) []byte {
	numbers := make(map[[sha256.Size]byte]uint32)
	var packs []pack
	for _, r := range rows {
		if _, ok := numbers[r.pack.name]; !ok {
			numbers[r.pack.name] = 0
			packs = append(packs, r.pack)
		}
	}
	slices.SortFunc(packs, func(a, b pack) int { return bytes.Compare(a.name[:], b.name[:]) })
	out := make([]byte, 0, tableHead+len(packs)*packBytes+len(rows)*rowBytes)
	out = append(out, tableMagic...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(packs)))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(rows)))
	for i, p := range packs {
		numbers[p.name] = uint32(i)
		out = append(out, p.name[:]...)
		out = binary.LittleEndian.AppendUint64(out, uint64(p.size))
		out = binary.LittleEndian.AppendUint32(out, p.day)
	}
	rows = slices.SortedFunc(slices.Values(rows), func(a, b row) int {
		return cmp.Or(cmp.Compare(numbers[a.pack.name], numbers[b.pack.name]), cmp.Compare(a.offset, b.offset))
	})
	for _, r := range rows {
		sum := r.digest.SHA256()
		out = append(out, sum[:]...)
		out = binary.LittleEndian.AppendUint64(out, uint64(r.digest.Size()))
		out = binary.LittleEndian.AppendUint32(out, numbers[r.pack.name])
		out = binary.LittleEndian.AppendUint64(out, uint64(r.offset))
	}
	return out
}

var errTable = errors.New("is not a table of blobs")

// decodeTable reads what encodeTable wrote. It keeps data.
func decodeTable(data []byte) (*table, error) {
	if len(data) < tableHead || string(data[:4]) != tableMagic {
		return nil, errTable
	}
	packs, rows := int64(binary.LittleEndian.Uint32(data[4:])), int64(binary.LittleEndian.Uint32(data[8:]))
	if int64(len(data)) != tableHead+packs*packBytes+rows*rowBytes {
		return nil, errTable
	}
	t := &table{packs: make([]pack, packs), rows: data[tableHead+packs*packBytes:], bySum: make([]uint32, rows)}
	for i := range t.packs {
		at := data[tableHead+i*packBytes:]
		size := binary.LittleEndian.Uint64(at[sha256.Size:])
		if size > math.MaxInt64 {
			return nil, errTable
		}
		t.packs[i] = pack{name: [sha256.Size]byte(at), size: int64(size), day: binary.LittleEndian.Uint32(at[sha256.Size+8:])}
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	for i := range t.bySum {
		t.bySum[i] = uint32(i)
	}
	slices.SortFunc(t.bySum, func(a, b uint32) int { return bytes.Compare(t.sum(int(a)), t.sum(int(b))) })
	return t, nil
}

// check returns an error unless every row lies in its pack, in order.
func (t *table) check() error {
	lastPack, end := uint32(0), uint64(0)
	for i := range len(t.bySum) {
		at := t.rows[i*rowBytes+sha256.Size:]
		size, number, offset := binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint32(at[8:]), binary.LittleEndian.Uint64(at[12:])
		if number != lastPack {
			end = 0
		}
		inOrder := number >= lastPack && offset >= end
		if !inOrder || int64(number) >= int64(len(t.packs)) || size > math.MaxInt64 || offset > math.MaxInt64 ||
			offset+size > uint64(t.packs[number].size) {
			return fmt.Errorf("%w: row %d", errTable, i)
		}
		lastPack, end = number, offset+size
	}
	return nil
}

func (t *table) sum(i int) []byte { return t.rows[i*rowBytes : i*rowBytes+sha256.Size] }

// row returns row i.
func (t *table) row(i int) row {
	at := t.rows[i*rowBytes:]
	d, err := cas.NewDigest(hex.EncodeToString(at[:sha256.Size]), int64(binary.LittleEndian.Uint64(at[sha256.Size:])))
	if err != nil {
		return row{} // check has seen the size
	}
	return row{
		digest: d,
		pack:   t.packs[binary.LittleEndian.Uint32(at[sha256.Size+8:])],
		offset: int64(binary.LittleEndian.Uint64(at[sha256.Size+12:])),
	}
}

// find returns the number of the row of a blob.
func (t *table) find(d cas.Digest) (int, bool) {
	want := d.SHA256()
	n, ok := slices.BinarySearchFunc(t.bySum, want[:], func(i uint32, sum []byte) int { return bytes.Compare(t.sum(int(i)), sum) })
	if !ok {
		return 0, false
	}
	i := int(t.bySum[n])
	return i, t.row(i).digest == d
}

// run returns rows of one pack from row i on: as many as fit into most bytes of the pack,
// and at least one. Gaps of more than maxGap bytes end it.
func (t *table) run(i int, most int64) []row {
	first := t.row(i)
	rows := []row{first}
	end := first.offset + first.digest.Size()
	for i++; i < len(t.bySum); i++ {
		r := t.row(i)
		if r.pack.name != first.pack.name || r.offset-end > maxGap || r.offset+r.digest.Size()-first.offset > most {
			break
		}
		rows, end = append(rows, r), r.offset+r.digest.Size()
	}
	return rows
}

// maxGap is how many bytes that nobody asks for are read rather than asking twice.
const maxGap = 256 << 10
