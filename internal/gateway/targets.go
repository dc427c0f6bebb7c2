package gateway

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// mergeTargets makes a code's new list of targets. One is matched by its
// number, else by where it leads; others are new and get the next number.
// Targets that are not listed any more are closed, never forgotten: numbers
// are not used again.
func mergeTargets(old []code.Target, asked []targetRequest, verified bool, pol policy, p code.Profile) ([]code.Target, error) {
	if len(asked) == 0 {
		return nil, invalid(events.CodeInvalid, "targets", "give at least one target")
	}
	if len(asked) > maxTargets {
		return nil, invalid(events.CodeTooMany, "targets", "at most %d targets are allowed", maxTargets)
	}
	capacity := p.Capacity
	if verified {
		capacity = p.CapacityVerified
	}
	next := 0
	for _, t := range old {
		next = max(next, t.N+1)
	}
	used := make(map[int]bool)
	var out []code.Target
	for i, a := range asked {
		at := fmt.Sprintf("targets[%d]", i)
		t := code.Target{N: -1, Capacity: capacity}
		switch {
		case a.N != nil:
			j := slices.IndexFunc(old, func(t code.Target) bool { return t.N == *a.N })
			if j < 0 {
				return nil, invalid(events.CodeInvalid, at+".n", "the code has no target with this number: leave n out for a new one")
			}
			t = old[j]
		case a.URL != nil || a.Picture != nil:
			j := slices.IndexFunc(old, func(t code.Target) bool {
				return !used[t.N] && (a.URL != nil && a.Picture == nil && t.URL == *a.URL || a.Picture != nil && a.URL == nil && t.Picture == *a.Picture)
			})
			if j >= 0 {
				t = old[j]
				t.Closed = false
			}
		}
		if used[t.N] {
			return nil, invalid(events.CodeInvalid, at+".n", "the target stands twice")
		}
		if t.N < 0 {
			t.N = next
			next++
		}
		used[t.N] = true
		if err := a.apply(&t, at, pol, p); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	for _, t := range old {
		if !used[t.N] {
			t.Closed = true
			out = append(out, t)
		}
	}
	if len(out) > maxEver {
		return nil, invalid(events.CodeTooMany, "targets", "a code has at most %d targets in its life: mint a new one", maxEver)
	}
	return out, nil
}

func (a targetRequest) apply(t *code.Target, at string, pol policy, p code.Profile) error {
	switch {
	case a.URL != nil && a.Picture != nil:
		return invalid(events.CodeInvalid, at, "give either a url or a picture, not both")
	case a.URL != nil:
		if err := checkURL(at+".url", *a.URL, pol, p); err != nil {
			return err
		}
		t.URL, t.Picture = *a.URL, ""
	case a.Picture != nil:
		if err := checkPicture(at+".picture", *a.Picture, pol, p); err != nil {
			return err
		}
		t.URL, t.Picture = "", *a.Picture
	case t.URL == "" && t.Picture == "":
		return invalid(events.CodeMissingField, at+".url", "give a url or a picture")
	}
	if a.Capacity != nil {
		if *a.Capacity < 1 || *a.Capacity > events.MaxCount {
			return invalid(events.CodeInvalid, at+".capacity", "use a whole number from 1, or leave it out for the profile's")
		}
		t.Capacity = *a.Capacity
	}
	if a.Closed != nil {
		t.Closed = *a.Closed
	}
	return nil
}

// checkURL lets only http and https addresses of public hosts in.
func checkURL(field, v string, pol policy, p code.Profile) error {
	if len(v) > maxURL {
		return invalid(events.CodeTooLarge, field, "it has %d bytes; at most %d are allowed", len(v), maxURL)
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return invalid(events.CodeInvalid, field, "it has a blank, backslash or control character: escape it")
	}
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return invalid(events.CodeInvalid, field, "it cannot be read: write an address such as https://example.com/group")
	case u.Scheme == "":
		return invalid(events.CodeInvalid, field, "the scheme is missing: write it as https://…")
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid(events.CodeInvalid, field, "only http and https addresses are allowed")
	case u.Hostname() == "":
		return invalid(events.CodeInvalid, field, "the host is missing: write an address such as https://example.com/group")
	case u.User != nil:
		return invalid(events.CodeInvalid, field, "an address with a user name or password is not allowed: it would be shown to everybody who scans")
	case !pol.private && privateHost(u.Hostname()):
		return problem(http.StatusBadRequest, "private_target", "the host is in a private network, where scanners cannot reach it: use a public one, or start the service with --allow-private-targets").at(field)
	case p.RegisteredOnly && !registered(u.Hostname(), pol.registered):
		return problem(http.StatusBadRequest, "unregistered_domain", "the profile %s leads to registered domains only: register the domain first", p.Name).at(field)
	}
	return nil
}

func registered(host string, domains []string) bool {
	if len(domains) == 0 {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(domains, func(d string) bool {
		d = strings.ToLower(strings.TrimSpace(d))
		return host == d || strings.HasSuffix(host, "."+d)
	})
}

// privateHost reports whether a host is, by its name alone, not one of the
// public network: nothing is looked up.
func privateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, ok := looseAddr(host); ok {
		a = a.Unmap().WithZone("")
		return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() || a.IsInterfaceLocalMulticast() ||
			slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for _, suffix := range []string{"localhost", "local", "internal", "lan", "home.arpa", "localdomain"} {
		if host == suffix || strings.HasSuffix(host, "."+suffix) {
			return true
		}
	}
	return !strings.Contains(host, ".") // a bare name means something inside a network only
}

// reserved are networks without public hosts that netip has no word for.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b:1::/48"),
}

// looseAddr reads an address the way browsers do, who take 127.1, 0x7f.1 and
// 2130706433 for 127.0.0.1.
func looseAddr(host string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Is6() && netip.MustParsePrefix("64:ff9b::/96").Contains(a) { // NAT64: the IPv4 address is inside
			b := a.As16()
			return netip.AddrFrom4([4]byte(b[12:])), true
		}
		return a, true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, part := range parts {
		n, err := parseLoose(part)
		if err != nil {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			if n >= 1<<(8*(5-uint(len(parts)))) {
				return netip.Addr{}, false
			}
			v = v<<(8*(5-uint(len(parts)))) | n
			continue
		}
		if n > 255 {
			return netip.Addr{}, false
		}
		v = v<<8 | n
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

// checkPicture lets https addresses and small inline images in.
func checkPicture(field, v string, pol policy, p code.Profile) error {
	rest, inline := strings.CutPrefix(v, "data:")
	if !inline {
		if err := checkURL(field, v, pol, p); err != nil {
			return err
		}
		if !strings.HasPrefix(strings.ToLower(v), "https:") {
			return invalid(events.CodeInvalid, field, "a picture is an https address or a data: URI")
		}
		return nil
	}
	head, data, ok := strings.Cut(rest, ",")
	kind, encoding, _ := strings.Cut(head, ";")
	if !ok || encoding != "base64" || kind != "image/png" && kind != "image/jpeg" && kind != "image/webp" {
		return invalid(events.CodeInvalid, field, "an inline picture is data:image/png;base64,… (or image/jpeg, image/webp)")
	}
	if base64.StdEncoding.DecodedLen(len(data)) > maxPicture+2 {
		return invalid(events.CodeTooLarge, field, "an inline picture has at most %d bytes: use an https address", maxPicture)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(data)
	if err != nil || len(b) == 0 || strings.ContainsAny(data, "\r\n") {
		return invalid(events.CodeInvalid, field, "the picture is not base64")
	}
	if len(b) > maxPicture {
		return invalid(events.CodeTooLarge, field, "an inline picture has at most %d bytes: use an https address", maxPicture)
	}
	if http.DetectContentType(b) != kind {
		return invalid(events.CodeInvalid, field, "the data is no %s", kind)
	}
	return nil
}

// parseLoose reads a number of an address as browsers do: 0x for 16, 0 for 8.
func parseLoose(s string) (uint64, error) {
	switch {
	case strings.HasPrefix(s, "0x"):
		if s == "0x" {
			return 0, nil
		}
		return strconv.ParseUint(s[2:], 16, 32)
	case len(s) > 1 && s[0] == '0':
		return strconv.ParseUint(s[1:], 8, 32)
	}
	return strconv.ParseUint(s, 10, 32)
}
