package h2

import "sync"

// blockSize is the unit in which arrived bytes are held.
const blockSize = 16 << 10

// keptBlocks is for how many blocks an empty inbox keeps the list.
const keptBlocks = 64

type block [blockSize]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// inbox holds what arrived for a stream and was not read yet. Its owner's lock guards it. The connection's
// reader fills the space that it was given without that lock, so the last block is kept while it does.
type inbox struct {
	blocks  []*block
	start   int // of the unread bytes, in the first block
	end     int // of the written bytes, in the last block
	size    int
	filling bool
}

// space returns room for up to n bytes behind what is there; added says how many were put in.
func (b *inbox) space(n int) []byte {
	if len(b.blocks) == 0 || b.end == blockSize {
		b.blocks = append(b.blocks, blocks.Get().(*block))
		b.end = 0
	}
	b.filling = true
	return b.blocks[len(b.blocks)-1][b.end:min(b.end+n, blockSize)]
}

func (b *inbox) added(n int) {
	b.filling = false
	b.end += n
	b.size += n
	b.shrink()
}

// read moves bytes to p.
func (b *inbox) read(p []byte) (n int) {
	for n < len(p) && b.size > 0 {
		end := blockSize
		if len(b.blocks) == 1 {
			end = b.end
		}
		m := copy(p[n:], b.blocks[0][b.start:end])
		n += m
		b.start += m
		b.size -= m
		if b.start == blockSize {
			b.drop()
		}
	}
	b.shrink()
	return n
}

// drop gives the first block back, which nobody needs any more.
func (b *inbox) drop() {
	blocks.Put(b.blocks[0])
	copy(b.blocks, b.blocks[1:]) // which costs less than the allocations of a slice that wanders
	b.blocks = b.blocks[:len(b.blocks)-1]
	b.start = 0
}

// shrink gives everything back once nothing is left to read.
func (b *inbox) shrink() {
	if b.size > 0 || b.filling {
		return
	}
	for _, full := range b.blocks {
		blocks.Put(full)
	}
	b.blocks, b.start, b.end = b.blocks[:0], 0, 0
	if cap(b.blocks) > keptBlocks {
		b.blocks = nil
	}
}

// clear drops what is there.
func (b *inbox) clear() {
	for len(b.blocks) > 1 {
		b.drop()
	}
	b.start, b.size = b.end, 0
	b.shrink()
}
