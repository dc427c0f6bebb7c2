package visit

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// maxHops bounds how many entries of X-Forwarded-For are looked at.
const maxHops = 32

// ClientAddr returns the address a request came from: the peer's, or if the peer is a trusted proxy, the right-most
// entry of its X-Forwarded-For (forwardedFor, one string a header line, in order) which is not a trusted
// proxy's. Entries further left were written by whoever sent the request and are never believed. An entry that
// is no address ends the search at the proxy that passed it on. IPv4 in IPv6 is unmapped, zones are dropped. The zero
// Addr means that remoteAddr, which is host:port or a bare address, was none.
func ClientAddr(remoteAddr string, forwardedFor []string, trusted []netip.Prefix) netip.Addr {
	client, ok := parseAddr(remoteAddr)
	if !ok {
		return netip.Addr{}
	}
	hops := 0
	for i := len(forwardedFor) - 1; i >= 0; i-- {
		for line, more := forwardedFor[i], true; more; {
			if hops++; hops > maxHops || !isTrusted(client, trusted) {
				return client
			}
			var entry string
			if comma := strings.LastIndexByte(line, ','); comma >= 0 {
				line, entry = line[:comma], line[comma+1:]
			} else {
				entry, more = line, false
			}
			addr, ok := parseAddr(strings.TrimSpace(entry))
			if !ok {
				return client
			}
			client = addr
		}
	}
	return client
}

// parseAddr reads an address with or without port and brackets.
func parseAddr(s string) (netip.Addr, bool) {
	if len(s) > 64 {
		return netip.Addr{}, false
	}
	if strings.Count(s, ":") == 1 { // IPv4 with its port, which is most: an address alone has none or more
		ap, err := netip.ParseAddrPort(s)
		return ap.Addr().Unmap().WithZone(""), err == nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
				return netip.Addr{}, false
			}
			if addr, err = netip.ParseAddr(s[1 : len(s)-1]); err != nil || !addr.Is6() {
				return netip.Addr{}, false
			}
		} else {
			addr = ap.Addr()
		}
	}
	return addr.Unmap().WithZone(""), true
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Network returns the network that stands for an address wherever one is kept: the /24 of IPv4, the /64 of
// IPv6, as in "203.0.113.0/24"; "" for the zero Addr.
func Network(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	var text [64]byte // on the stack, so that the string is all that is made
	return string(netip.PrefixFrom(a, bits).Masked().AppendTo(text[:0]))
}

// CutNetwork cuts what a producer calls a network to what is kept: an address or a narrower prefix to its
// Network; a wider prefix stays. Other text is a name of the producer's own and stays too.
func CutNetwork(text string) string {
	if a, err := netip.ParseAddr(text); err == nil {
		return Network(a)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return text
	}
	cut := Network(p.Addr())
	if kept, err := netip.ParsePrefix(cut); err == nil && !p.Addr().Is4In6() && p.Bits() < kept.Bits() {
		return p.Masked().String()
	}
	return cut
}

// ParsePrefixes reads a comma-separated list of networks and single addresses, such as "10.0.0.0/8,127.0.0.1";
// "" is none. A network with bits behind its prefix is refused with what was probably meant.
func ParsePrefixes(s string) ([]netip.Prefix, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var out []netip.Prefix
	for i, item := range strings.Split(s, ",") {
		p, err := parsePrefix(strings.TrimSpace(item))
		if err != nil {
			return nil, fmt.Errorf("trusted network %d of %q: %w", i+1, s, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, fmt.Errorf("it is empty: write networks such as 10.0.0.0/8, separated by commas")
	}
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no address: write 127.0.0.1, 10.0.0.0/8 or fd00::/8", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network: write 10.0.0.0/8 or fd00::/8", s)
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is IPv4 inside IPv6: write the IPv4 network itself", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits behind its prefix: write %s, or the address without /%d", s, p.Masked(), p.Bits())
	}
	return p, nil
}

// RefererHost returns the host of a Referer, lower case, at most 253 bytes, without port, user and path; "" when
// there is none or it is not an http, https or android-app address of a well-formed ASCII host.
func RefererHost(referer string) string {
	if referer == "" || len(referer) > 8<<10 {
		return ""
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "android-app" {
		return ""
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().WithZone("").String()
	}
	if len(host) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return ""
		}
	}
	return host
}
