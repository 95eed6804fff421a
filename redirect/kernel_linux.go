package redirect

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// ourTable is the table for the kernel.
func ourTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// add adds a chain, with its rules, to what is sent to the kernel at the next flush.
func (c chain) add(conn *nftables.Conn, t *nftables.Table) {
	k := &nftables.Chain{Name: c.name, Table: t}
	accept := nftables.ChainPolicyAccept
	switch c.hook {
	case atOutput:
		k.Type, k.Hooknum, k.Priority, k.Policy = nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, &accept
	case atPrerouting:
		k.Type, k.Hooknum, k.Priority, k.Policy = nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, &accept
	case beforeRouting:
		k.Type, k.Hooknum, k.Priority, k.Policy = nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle, &accept
	}
	conn.AddChain(k)
	for _, r := range c.rules {
		one := &nftables.Rule{Table: t, Chain: k, Exprs: r.expressions()}
		if r.comment != "" {
			one.UserData = userdata.AppendString(nil, userdata.TypeComment, r.comment)
		}
		conn.AddRule(one)
	}
}

// expressions are the rule for the kernel. Register 1 is enough for all of them.
func (r rule) expressions() (all []expr.Any) {
	if r.uid != nil {
		all = append(all, meta(expr.MetaKeySKUID), equals(binaryutil.NativeEndian.PutUint32(*r.uid)))
	}
	if r.mark != nil {
		all = append(all, meta(expr.MetaKeyMARK), equals(binaryutil.NativeEndian.PutUint32(*r.mark)))
	}
	if r.local {
		all = append(all, &expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true}, equals(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)))
	}
	if r.from.IsValid() {
		all = append(all, within(r.from, 12, 8)...) // RFC 791, 3.1; RFC 8200, 3
	}
	if r.to.IsValid() {
		all = append(all, within(r.to, 16, 24)...)
	}
	if r.smtp { // RFC 9293, 3.1: the destination port
		all = append(all, meta(expr.MetaKeyL4PROTO), equals([]byte{unix.IPPROTO_TCP}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, equals(portBytes(Port)))
	}
	return append(all, r.verdictExpressions()...)
}

func (r rule) verdictExpressions() []expr.Any {
	port := &expr.Immediate{Register: 1, Data: portBytes(r.port)}
	switch r.do {
	case redirectTo:
		return []expr.Any{&expr.Counter{}, port, &expr.Redir{RegisterProtoMin: 1}}
	case divertTo:
		return []expr.Any{&expr.Counter{}, port, &expr.TProxy{RegPort: 1},
			&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)}, &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
			&expr.Verdict{Kind: expr.VerdictAccept}}
	case refuse:
		return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
	case goTo:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: r.chain}}
	}
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept}}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: 1} }

func equals(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func portBytes(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// within compares an address in the header of a packet, at its offset for each family,
// with a network.
func within(n netip.Prefix, at4, at6 uint32) []expr.Any {
	family, at, size := byte(unix.NFPROTO_IPV4), at4, uint32(4)
	if n.Addr().Is6() {
		family, at, size = unix.NFPROTO_IPV6, at6, 16
	}
	all := []expr.Any{meta(expr.MetaKeyNFPROTO), equals([]byte{family}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: size}}
	if !n.IsSingleIP() {
		all = append(all, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: maskOf(n.Bits(), int(size)), Xor: make([]byte, size)})
	}
	return append(all, equals(n.Masked().Addr().AsSlice()))
}

// maskOf is the netmask of a length in bits, size octets long.
func maskOf(bits, size int) []byte {
	mask := make([]byte, size)
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}
