package balancer

import "testing"

func TestClassify(t *testing.T) {
	const (
		dns  = "dns.example:53"
		get  = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		ccs  = "\x14\x03\x03\x00\x01\x01"
		data = "\x17\x03\x03\x00\x01x"
	)
	query := "\x00\x0e\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00ab"
	const unknown = classUnknown
	tests := map[string]struct {
		sent, addr string
		want       class
	}{
		"nothing":                       {"", target, classNothing},
		"hello":                         {hello, target, classTLS},
		"a part of a hello":             {hello[:6], target, classTLS},
		"less than a record":            {hello[:5], target, unknown},
		"hello and compatibility":       {hello + ccs, target, classTLS},
		"hello and a part of a header":  {hello + ccs[:1], target, classTLS},
		"hello and early data":          {hello + ccs + data, target, unknown},
		"hello and the type of that":    {hello + data[:1], target, unknown},
		"a handshake that goes on":      {hello[:5] + "\x02" + hello[6:], target, unknown},
		"application data":              {data, target, unknown},
		"not the version":               {"\x16\x02\x01\x00\x05\x01\x00\x00\x01\x00", target, unknown},
		"too long a record":             {"\x16\x03\x01\xff\xff\x01\x00\x00\x01\x00", target, unknown},
		"GET":                           {get, target, classHTTP},
		"HEAD":                          {"HEAD / HTTP/1.0\r\n\r\n", target, classHTTP},
		"OPTIONS":                       {"OPTIONS * HTTP/1.1\r\n\r\n", target, classHTTP},
		"a part of a GET":               {get[:10], target, classHTTP},
		"a method only":                 {"GET ", target, unknown},
		"less than a method":            {"GE", target, unknown},
		"another method":                {"GETTY / HTTP/1.1\r\n\r\n", target, unknown},
		"lower case":                    {"get / HTTP/1.1\r\n\r\n", target, unknown},
		"POST":                          {"POST / HTTP/1.1\r\n\r\n", target, unknown},
		"PUT behind a GET":              {get + "PUT / HTTP/1.1\r\n\r\n", target, unknown},
		"a part of something behind it": {get + "P", target, unknown},
		"two of GET":                    {get + get, target, classHTTP},
		"GET with content":              {"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", target, unknown},
		"GET that will have some":       {"GET / HTTP/1.1\r\ntransfer-encoding : x\r\n", target, unknown},
		"GET that becomes a WebSocket":  {"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", target, unknown},
		"GET cut short in a line end":   {"GET / HTTP/1.1\r\nHost: x\r", target, classHTTP},
		"POST behind lone LFs":          {"GET / HTTP/1.1\nHost: x\n\nPOST / HTTP/1.1\n\n", target, unknown},
		"content behind lone LFs":       {"GET / HTTP/1.1\nContent-Length: 1\n\n1", target, unknown},
		"lone CRs":                      {"GET / HTTP/1.1\rContent-Length: 1\r\n\r\n", target, unknown},
		"HTTP/2 without TLS":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", target, unknown},
		"DNS":                           {query, dns, classDNS},
		"DNS on another port":           {query, target, unknown},
		"two of DNS":                    {query + query, dns, classDNS},
		"a DNS update":                  {query[:4] + "\x28" + query[5:], dns, unknown},
		"a part of DNS":                 {query[:13], dns, unknown},
		"DNS with a part of another":    {query + query[:15], dns, classDNS},
		"SSH":                           {"SSH-2.0-x\r\n", target, unknown},
		"no port":                       {query, "dns.example", unknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := classify([]byte(tt.sent), tt.addr); got != tt.want {
				t.Errorf("classify(%q) = %d, want %d", tt.sent, got, tt.want)
			}
		})
	}
}

// Whatever comes, nothing that a target acts upon is taken for safe, however it is cut.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{hello, "GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n", "\x00\x0e\x12\x34"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, addr := range []string{target, "[::1]:53"} {
			if classify(sent, addr) == classUnknown {
				continue
			}
			for _, unsafe := range []string{"POST / HTTP/1.1\r\nHost: x\r\n\r\n", "\x17\x03\x03\x00\x01x"} {
				if len(sent) == 0 && classify([]byte(unsafe), addr) != classUnknown {
					t.Errorf("%q is taken for safe", unsafe)
				}
			}
		}
	})
}
