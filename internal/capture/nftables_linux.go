package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	nfFixed    = 4 // struct nfgenmsg
	tableOwner = 2 // NFT_TABLE_F_OWNER, since Linux 5.12
	ownerAttr  = 7 // NFTA_TABLE_OWNER
	nfAccept   = 1 // NF_ACCEPT
)

var errNoNetfilter = errors.New("this kernel has no netfilter")

// guardState is what the kernel has of the guard.
type guardState struct {
	there bool
	owner uint32 // the socket that owns it; zero is none
}

// guard looks for it.
func (k *kernel) guard() (guardState, error) {
	if k.nf == nil {
		return guardState{}, nil
	}
	got, err := k.nf.ask(nfMessage(unix.NFT_MSG_GETTABLE, 0, attrString(unix.NFTA_TABLE_NAME, guardTable)))
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return guardState{}, nil // no such table, or no nftables
	case errors.Is(err, unix.EPERM):
		return guardState{}, fmt.Errorf("look for table inet %s: %w: it takes CAP_NET_ADMIN", guardTable, err)
	case err != nil:
		return guardState{}, fmt.Errorf("look for table inet %s: %w", guardTable, err)
	}
	s := guardState{there: len(got) > 0}
	for _, m := range got {
		if v, ok := attrOf(m.body, nfFixed, ownerAttr); ok && len(v) == 4 {
			s.owner = binary.BigEndian.Uint32(v)
		}
	}
	return s, nil
}

// ownsGuard reports whether the table is that of this very socket.
func (k *kernel) ownsGuard(s guardState) bool {
	if s.owner == 0 || k.nf == nil {
		return false
	}
	addr, err := unix.Getsockname(k.nf.fd)
	nl, ok := addr.(*unix.SockaddrNetlink)
	return err == nil && ok && nl.Pid == s.owner
}

// add puts the guard in the place of one that is there, with nothing in between.
func (g Guard) add(k *kernel) (bool, error) {
	if k.nf == nil {
		return false, errNoNetfilter
	}
	var flags uint32 = tableOwner
	if g.Stays {
		flags = 0
	}
	name := attrString(unix.NFTA_TABLE_NAME, guardTable)
	// The first makes the deletion possible where there is none. It is refused where somebody else owns it.
	msgs := []message{
		nfMessage(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, name),
		nfMessage(unix.NFT_MSG_DELTABLE, 0, name),
		nfMessage(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, name, attrBig(unix.NFTA_TABLE_FLAGS, flags)),
	}
	for _, s := range g.Sets {
		msgs = append(msgs, s.create()...)
	}
	for _, c := range g.Chains {
		msgs = append(msgs, c.create())
	}
	for _, c := range g.Chains {
		for _, f := range c.Rules {
			msgs = append(msgs, f.create(c.Name))
		}
	}
	return true, k.batch(msgs)
}

func (g Guard) remove(k *kernel) error { return k.dropGuard() }

// dropGuard deletes the table.
func (k *kernel) dropGuard() error {
	if k.nf == nil {
		return nil
	}
	name := attrString(unix.NFTA_TABLE_NAME, guardTable)
	err := k.batch([]message{nfMessage(unix.NFT_MSG_DELTABLE, 0, name)})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// batch sends changes that come into force together or not at all. Only the last is acknowledged, which is
// after all of them: hundreds of acknowledgements would not fit into the socket.
func (k *kernel) batch(msgs []message) error {
	size := 0
	for i := range msgs {
		size += headerLen + len(msgs[i].body)
		if i < len(msgs)-1 {
			msgs[i].flags &^= unix.NLM_F_ACK
		}
	}
	// The kernel counts what it puts around the bytes as well. In a user namespace it gives no more room than
	// the usual, which is enough for a few thousand networks; the write says so where it is not.
	_ = unix.SetsockoptInt(k.nf.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*size+receiveSize)
	frame := make([]byte, nfFixed)
	binary.BigEndian.PutUint16(frame[2:], unix.NFNL_SUBSYS_NFTABLES)
	all := slices.Concat([]message{{unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, frame}}, msgs,
		[]message{{unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, frame}})
	_, err := k.nf.ask(all...)
	return err
}

// nfMessage is one for the tables of the family inet.
func nfMessage(kind, flags uint16, attrs ...[]byte) message {
	body := slices.Concat(append([][]byte{{unix.NFPROTO_INET, 0, 0, 0}}, attrs...)...)
	return message{unix.NFNL_SUBSYS_NFTABLES<<8 | kind, flags | unix.NLM_F_REQUEST | unix.NLM_F_ACK, body}
}

// create is the message that makes the chain, without its rules.
func (c Chain) create() message {
	list := [][]byte{attrString(unix.NFTA_CHAIN_TABLE, guardTable), attrString(unix.NFTA_CHAIN_NAME, c.Name)}
	if c.Hook != "" {
		hook := map[string]uint32{
			"prerouting": unix.NF_INET_PRE_ROUTING,
			"forward":    unix.NF_INET_FORWARD,
			"output":     unix.NF_INET_LOCAL_OUT,
		}[c.Hook]
		list = append(list, attrString(unix.NFTA_CHAIN_TYPE, "filter"), nested(unix.NFTA_CHAIN_HOOK,
			attrBig(unix.NFTA_HOOK_HOOKNUM, hook), attrBig(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))))
	}
	return nfMessage(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, list...)
}

// create is the message that appends the rule to a chain.
func (f Filter) create(chain string) message {
	var list [][]byte
	for _, m := range f.match {
		list = append(list, m.exprs()...)
	}
	list = append(list, f.verdict.exprs()...)
	return nfMessage(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND,
		attrString(unix.NFTA_RULE_TABLE, guardTable), attrString(unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, list...))
}

// exprs are the verdict's instructions.
func (r ruling) exprs() [][]byte {
	switch r {
	case accept:
		return [][]byte{decide(attrBig(unix.NFTA_VERDICT_CODE, nfAccept))}
	case toDNS:
		code := int32(unix.NFT_GOTO)
		return [][]byte{decide(attrBig(unix.NFTA_VERDICT_CODE, uint32(code)),
			attrString(unix.NFTA_VERDICT_CHAIN, "dns"))}
	case reject:
	}
	return [][]byte{expr("reject", attrBig(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMPX_UNREACH),
		attr(unix.NFTA_REJECT_ICMP_CODE, []byte{unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}))}
}

func (m setMark) exprs() [][]byte {
	return [][]byte{
		expr("immediate", attrBig(unix.NFTA_IMMEDIATE_DREG, register),
			nested(unix.NFTA_IMMEDIATE_DATA, attr(unix.NFTA_DATA_VALUE, native32(uint32(m))))),
		expr("meta", attrBig(unix.NFTA_META_KEY, unix.NFT_META_MARK), attrBig(unix.NFTA_META_SREG, register)),
	}
}

// decide ends the way of a packet through a chain.
func decide(attrs ...[]byte) []byte {
	return expr("immediate", attrBig(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT, attrs...)))
}
