package h2

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// put puts p into b as the connection's reader does.
func (b *inbox) put(p []byte) {
	for len(p) > 0 {
		n := copy(b.space(len(p)), p)
		b.added(n)
		p = p[n:]
	}
}

func TestInboxKeepsOrder(t *testing.T) {
	var b inbox
	var want, got bytes.Buffer
	random := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 3*blockSize)
	noise := rand.NewChaCha8([32]byte{5})
	for range 100 {
		_, _ = noise.Read(buf)
		p := buf[:random.IntN(len(buf))]
		want.Write(p)
		b.put(p)
		n := b.read(buf[:random.IntN(len(buf))])
		got.Write(buf[:n])
		if held := len(b.blocks) * blockSize; held > b.size+2*blockSize {
			t.Fatalf("%d bytes are held in %d", b.size, held)
		}
		if b.size > 1<<20 {
			for b.size > 0 {
				got.Write(buf[:b.read(buf)])
			}
		}
	}
	for b.size > 0 {
		got.Write(buf[:b.read(buf)])
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("what was read is not what was put in")
	}
	if len(b.blocks) > 0 {
		t.Errorf("an empty inbox holds %d blocks", len(b.blocks))
	}
}

// The reader of the connection fills space that it got before the owner of the inbox changed it.
func TestInboxWhileItIsFilled(t *testing.T) {
	tests := map[string]struct {
		before int
		during func(b *inbox)
	}{
		"empty":                 {0, func(*inbox) {}},
		"read during":           {5, func(b *inbox) { b.read(make([]byte, 100)) }},
		"full block before":     {blockSize, func(b *inbox) { b.read(make([]byte, blockSize+1)) }},
		"cleared during":        {5, (*inbox).clear},
		"cleared full during":   {2 * blockSize, (*inbox).clear},
		"read to the end twice": {9, func(b *inbox) { b.read(make([]byte, 9)); b.read(make([]byte, 9)) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var b inbox
			b.put(make([]byte, tt.before))
			space := b.space(3)
			tt.during(&b)
			copy(space, "new")
			b.added(3)
			got := make([]byte, 3*blockSize)
			if got = got[:b.read(got)]; string(got) != "new" {
				t.Errorf("read %d bytes, want those of \"new\"", len(got))
			}
			if len(b.blocks) > 0 {
				t.Errorf("an empty inbox holds %d blocks", len(b.blocks))
			}
		})
	}
}
