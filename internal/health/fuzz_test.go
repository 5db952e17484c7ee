package health

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// answer is a target that has an answer ready.
type answer struct {
	io.Reader
	io.Writer
}

func FuzzHTTPAnswer(f *testing.F) {
	for _, seed := range []string{"", "H", "HTTP/", "HTTP/1.1 200 OK\r\n", "http/1.1 200", "SSH-2.0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := exchangeHTTP(answer{strings.NewReader(s), io.Discard}, "example.com:80")
		if want := strings.HasPrefix(s, "HTTP/"); (err == nil) != want {
			t.Errorf("answer %q: %v, want it to pass: %v", s, err, want)
		}
	})
}

func FuzzDNSAnswer(f *testing.F) {
	query, err := Question{Name: "example.com", Type: "A"}.pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(query, uint16(0), uint8(1))
	f.Add(append([]byte{0, 1, 0x80}, query[3:]...), uint16(0xFFFF), uint8(3))
	f.Add([]byte{0xFF, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint16(0xFFFF), uint8(1))
	f.Fuzz(func(t *testing.T, datagram []byte, first uint16, n uint8) {
		i, ok := answered(bytes.Clone(datagram), first, int(n))
		var p dnsmessage.Parser
		head, err := p.Start(datagram)
		want := false
		for k := range uint16(n) {
			want = want || err == nil && head.Response && head.ID == first+k
		}
		if ok != want || ok && head.ID != first+uint16(i) {
			t.Errorf("answered(%x, %d, %d) = %d, %v, want %v", datagram, first, n, i, ok, want)
		}
	})
}
