package socksaddr

import "net"

// maxInterned bounds an Interner. An association that talks to more targets only loses the saving.
const maxInterned = 64

// Interner parses addresses as Cut does and returns equal ones as the same net.Addr, so that the packets of
// one conversation cost no allocation. The zero value is ready. It is not for concurrent use.
type Interner struct {
	known map[string]net.Addr // by wire form
}

// Intern returns a.
func (in *Interner) Intern(a Addr) net.Addr {
	var wire [MaxLen]byte
	b := a.Append(wire[:0])
	if known, ok := in.known[string(b)]; ok {
		return known
	}
	return in.learn(b, a)
}

// Cut parses the address at the start of b and returns the bytes behind it.
func (in *Interner) Cut(b []byte) (a net.Addr, rest []byte, err error) {
	n, err := wireLen(b)
	if err != nil {
		return nil, nil, err
	}
	if len(b) < n {
		return nil, nil, ErrShort
	}
	if a, ok := in.known[string(b[:n])]; ok { // the compiler does not allocate for this conversion
		return a, b[n:], nil
	}
	parsed, rest, err := Cut(b)
	if err != nil {
		return nil, nil, err
	}
	return in.learn(b[:n], parsed), rest, nil
}

// learn remembers an address by its wire form.
func (in *Interner) learn(wire []byte, a net.Addr) net.Addr {
	if in.known == nil || len(in.known) >= maxInterned {
		in.known = make(map[string]net.Addr)
	}
	in.known[string(wire)] = a
	return a
}
