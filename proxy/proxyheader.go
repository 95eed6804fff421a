package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"postern/smtpwire"
)

// The limits of PROXY headers, in octets.
const (
	maxProxyV1    = 107  // the specification, 2.1
	maxProxyV2    = 4096 // of addresses and TLVs: what no sane sender reaches
	maxProxySent  = 536  // the specification, 2: fits into the first segment of any path
	proxyV2Fixed  = 16
	proxyV2Prefix = 12
)

// errProxyHeader is any defect of a PROXY header; which one is for the log.
var errProxyHeader = errors.New("bad PROXY header")

// readProxyHeader reads a PROXY header of version 1 or 2 through the leg's own
// reader, so that not an octet behind it is lost or taken for part of it. ok is
// false for UNKNOWN and LOCAL, which carry no client: a balancer's health check.
func readProxyHeader(r *smtpwire.Reader) (client, local netip.AddrPort, ok bool, err error) {
	header, err := frameProxyHeader(r)
	if err != nil {
		return client, local, false, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return client, local, false, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	if err := checkCRC(h, header); err != nil {
		return client, local, false, err
	}
	if h.Command.IsLocal() {
		return client, local, false, nil
	}
	src, dst, isTCP := h.TCPAddrs()
	if !isTCP {
		return client, local, false, fmt.Errorf("%w: not a TCP connection", errProxyHeader)
	}
	return unmap(src.AddrPort()), unmap(dst.AddrPort()), true, nil
}

// frameProxyHeader reads just the octets of the header.
func frameProxyHeader(r *smtpwire.Reader) ([]byte, error) {
	b := make([]byte, proxyV2Fixed, proxyV2Fixed+64)
	if err := r.ReadExact(b[:proxyV2Prefix]); err != nil {
		return nil, err
	}
	if !bytes.Equal(b[:proxyV2Prefix], proxyproto.SIGV2) {
		return frameProxyV1(r, b[:proxyV2Prefix])
	}
	if err := r.ReadExact(b[proxyV2Prefix:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(b[14:]))
	if n > maxProxyV2 {
		return nil, fmt.Errorf("%w: %d octets long", errProxyHeader, n)
	}
	b = append(b, make([]byte, n)...)
	return b, r.ReadExact(b[proxyV2Fixed:])
}

func frameProxyV1(r *smtpwire.Reader, b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte("PROXY ")) || bytes.IndexByte(b, '\n') >= 0 {
		return nil, fmt.Errorf("%w: it begins with %q", errProxyHeader, b)
	}
	for len(b) < maxProxyV1 {
		b = append(b, 0)
		if err := r.ReadExact(b[len(b)-1:]); err != nil {
			return nil, err
		}
		if b[len(b)-1] == '\n' {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: version 1 without an end", errProxyHeader)
}

// checkCRC verifies the checksum of a version 2 header that has one (the
// specification, 2.2.3), which is made with its own field set to zero.
func checkCRC(h *proxyproto.Header, header []byte) error {
	if h.Version != 2 {
		return nil
	}
	tlvs, err := h.TLVs()
	if err != nil {
		return fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	at := len(header)
	for i := len(tlvs) - 1; i >= 0; i-- {
		at -= len(tlvs[i].Value)
		if tlvs[i].Type == proxyproto.PP2_TYPE_CRC32C {
			if len(tlvs[i].Value) != 4 {
				return fmt.Errorf("%w: checksum of %d octets", errProxyHeader, len(tlvs[i].Value))
			}
			zeroed := bytes.Clone(header)
			clear(zeroed[at : at+4])
			if crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(tlvs[i].Value) {
				return fmt.Errorf("%w: wrong checksum", errProxyHeader)
			}
		}
		at -= 3
	}
	return nil
}

// sendProxyHeader queues what the backend is told before all else, if anything.
// It leaves in one write, ahead of the backend's greeting.
func (b *Backends) sendProxyHeader(up *backendLeg, who introduction) error {
	if b.o.Convey != ConveyProxyV1 && b.o.Convey != ConveyProxyV2 {
		return nil
	}
	header, err := proxyHeader(b.o.Convey, who)
	if err != nil {
		return refusal{cause: CauseBackendXCLIENT}
	}
	if err := up.w.Through(header); err != nil {
		return b.unwelcome(err)
	}
	return nil
}

// proxyHeader makes a header for a client, or LOCAL (UNKNOWN in version 1) for
// a probe of our own.
func proxyHeader(how Convey, who introduction) ([]byte, error) {
	version := byte(1)
	if how == ConveyProxyV2 {
		version = 2
	}
	if who.probe {
		h := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
		return h.Format()
	}
	if !who.client.IsValid() || !who.local.IsValid() { // it would become LOCAL: us
		return nil, fmt.Errorf("%w: a client without an address", errProxyHeader)
	}
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(who.client), net.TCPAddrFromAddrPort(who.local))
	if version == 1 || !who.secured.active() {
		return h.Format()
	}
	// Too long: the names in the certificate go first, then everything.
	for _, withName := range []bool{true, false} {
		if tlvs, err := tlsFacts(who.secured, withName); err == nil && h.SetTLVs(tlvs) == nil {
			if p, err := h.Format(); err == nil && len(p) <= maxProxySent {
				return p, nil
			}
		}
	}
	h.SetTLVs(nil)
	return h.Format()
}

// tlsFacts are the TLVs that tell of TLS (the specification, 2.2.6).
func tlsFacts(t secured, withName bool) ([]proxyproto.TLV, error) {
	ssl := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1}
	add := func(kind proxyproto.PP2Type, value string) {
		ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: kind, Value: []byte(value)})
	}
	add(proxyproto.PP2_SUBTYPE_SSL_VERSION, versionName(t.version))
	add(proxyproto.PP2_SUBTYPE_SSL_CIPHER, t.cipher)
	if t.verdict != verdictAnonymous {
		ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN | tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
		if t.verdict != verdictUntrusted {
			ssl.Verify = 0
		}
		if withName && t.name != "" {
			add(proxyproto.PP2_SUBTYPE_SSL_CN, t.name)
		}
	}
	tlv, err := ssl.Marshal()
	tlvs := []proxyproto.TLV{tlv}
	if t.sni != "" && withName {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(t.sni)})
	}
	return tlvs, err
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
