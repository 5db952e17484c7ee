package outlinetest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"testing"
)

func TestBytesToKey(t *testing.T) {
	rows := []struct {
		name, secret string
		size         int
		want         string
	}{
		// openssl enc -aes-256-cbc -md md5 -nosalt -P -k secret
		{"16 bytes", "secret", 16, "5ebe2294ecd0e0f08eab7690d2a6ee69"},
		{"none", "", 16, "d41d8cd98f00b204e9800998ecf8427e"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := hex.EncodeToString(bytesToKey(row.secret, row.size)); got != row.want {
				t.Errorf("bytesToKey(%q) = %s, want %s", row.secret, got, row.want)
			}
		})
	}
}

func TestCounter(t *testing.T) {
	c := counter{0xFF, 0xFF}
	first, second := c.next(), c.next()
	if first[0] != 0xFF || first[1] != 0xFF || second[0] != 0 || second[1] != 0 || second[2] != 1 {
		t.Errorf("nonces = %x, %x, want little-endian numbers", first, second)
	}
}

// chunks seals payloads with the key of a fixed secret, without the salt, and returns what opens them.
func chunks(t *testing.T, payloads ...string) ([]byte, *chunkReader) {
	t.Helper()
	k, err := newKey("aes-128-gcm", "secret")
	if err != nil {
		t.Fatal(err)
	}
	w, err := k.newChunkWriter()
	if err != nil {
		t.Fatal(err)
	}
	aead, _ := k.session(w.salt)
	w.salt = nil
	var wire []byte
	for _, payload := range payloads {
		wire = append(wire, w.seal([]byte(payload))...)
	}
	return wire, &chunkReader{aead: aead}
}

func TestChunkReader(t *testing.T) {
	whole, _ := chunks(t, "one", "", "three")
	rows := []struct {
		name string
		cut  int // bytes left away at the end
		flip int // the byte that is changed; -1 for none
		want string
		err  error
	}{
		{"whole", 0, -1, "onethree", nil},
		{"cut in payload", 1, -1, "one", io.ErrUnexpectedEOF},
		{"cut before payload", 5 + tagSize, -1, "one", io.ErrUnexpectedEOF},
		{"cut in length", 5 + tagSize + 3, -1, "one", io.ErrUnexpectedEOF},
		{"bad length", 0, 0, "", errNoOpen},
		{"bad payload", 0, 2 + tagSize, "", errNoOpen},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			wire, r := chunks(t, "one", "", "three")
			if len(wire) != len(whole) {
				t.Fatalf("wire = %d bytes, want %d", len(wire), len(whole))
			}
			if row.flip >= 0 {
				wire[row.flip] ^= 1
			}
			r.from = bytes.NewReader(wire[:len(wire)-row.cut])
			got, err := io.ReadAll(r)
			if string(got) != row.want || !errors.Is(err, row.err) {
				t.Errorf("chunks = %q, %v, want %q, %v", got, err, row.want, row.err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	rows := []struct{ name, wire, want string }{
		{"IPv4", "\x01\x7f\x00\x00\x01\x00\x50", "127.0.0.1:80"},
		{"IPv6", "\x04" + string(make([]byte, 15)) + "\x01\x01\xbb", "[::1]:443"},
		{"name", "\x03\x0cexample.test\x00\x35", "example.test:53"},
		{"unknown type", "\x02", ""},
		{"nothing", "", ""},
		{"no length", "\x03", ""},
		{"short name", "\x03\x05ab", ""},
		{"no port", "\x01\x7f\x00\x00\x01\x00", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := readAddr(bytes.NewReader([]byte(row.wire)))
			if got != row.want || (err == nil) != (row.want != "") {
				t.Errorf("readAddr(%q) = %q, %v, want %q", row.wire, got, err, row.want)
			}
			if addr, err := netip.ParseAddrPort(got); err == nil {
				if wire := appendAddr(nil, addr); string(wire) != row.wire {
					t.Errorf("appendAddr(%v) = %q, want %q", addr, wire, row.wire)
				}
			}
		})
	}
}

func TestSaltCache(t *testing.T) {
	var c saltCache
	salt := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
	for i := range 2*saltsKept + 1 {
		if !c.add(salt(i)) {
			t.Fatalf("salt %d = known, want new", i)
		}
	}
	if c.add(salt(2 * saltsKept)) {
		t.Error("the last salt = new, want known")
	}
	if c.add(salt(saltsKept)) {
		t.Error("a salt of the generation before = new, want known")
	}
	if !c.add(salt(0)) {
		t.Error("the oldest salt = known: the cache has no bound")
	}
}

func TestListsAreBounded(t *testing.T) {
	var list []int
	for i := range 3 * listMax {
		list = appendNewest(list, i)
	}
	if len(list) > listMax || list[len(list)-1] != 3*listMax-1 {
		t.Errorf("list = %d entries up to %d, want at most %d up to %d",
			len(list), list[len(list)-1], listMax, 3*listMax-1)
	}
}

func FuzzReadAddr(f *testing.F) {
	f.Add([]byte("\x01\x7f\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x03\x0cexample.test\x00\x35rest"))
	f.Add([]byte("\x04"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, err := readAddr(bytes.NewReader(wire))
		addr, parseErr := netip.ParseAddrPort(got)
		if err != nil || parseErr != nil || wire[0] == 3 {
			return
		}
		if again := appendAddr(nil, addr); !bytes.HasPrefix(wire, again) {
			t.Errorf("appendAddr(readAddr(%x)) = %x", wire, again)
		}
	})
}

func FuzzAnswerDNS(f *testing.F) {
	f.Add([]byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, query []byte) {
		if answer := answerDNS(query); len(answer) > 2 && !bytes.Equal(answer[:2], query[:2]) {
			t.Errorf("id of the answer = %x, want %x", answer[:2], query[:2])
		}
	})
}
