package visit

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func prefixes(t testing.TB, s string) []netip.Prefix {
	t.Helper()
	p, err := ParsePrefixes(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientAddr(t *testing.T) {
	trusted := prefixes(t, "10.0.0.0/8,127.0.0.1,fd00::/8")
	for _, row := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "203.0.113.9:5000", nil, "203.0.113.9"},
		{"a client's own header", "203.0.113.9:5000", []string{"1.2.3.4"}, "203.0.113.9"},
		{"one proxy", "10.0.0.1:80", []string{"203.0.113.9"}, "203.0.113.9"},
		{"one proxy, a forged entry before", "10.0.0.1:80", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"a forged entry that is trusted", "10.0.0.1:80", []string{"10.0.0.9, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1:80", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"two proxies, two lines", "10.0.0.1:80", []string{"1.1.1.1,203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		{"all trusted", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"trusted, no header", "10.0.0.1:80", nil, "10.0.0.1"},
		{"an empty header", "10.0.0.1:80", []string{""}, "10.0.0.1"},
		{"garbage on the right", "10.0.0.1:80", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"garbage behind a proxy", "10.0.0.1:80", []string{"203.0.113.9, nonsense, 10.0.0.2"}, "10.0.0.2"},
		{"garbage on the left", "10.0.0.1:80", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		{"an empty entry", "10.0.0.1:80", []string{"203.0.113.9,"}, "10.0.0.1"},
		{"with a port", "10.0.0.1:80", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"IPv6", "[2001:db8::1]:80", nil, "2001:db8::1"},
		{"IPv6 behind a proxy", "[fd00::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "[fd00::1]:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 in brackets with a port", "[fd00::1]:80", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		{"IPv4 in brackets", "10.0.0.1:80", []string{"[203.0.113.9]"}, "10.0.0.1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"a zone", "[fe80::1%eth0]:80", nil, "fe80::1"},
		{"a bare address", "203.0.113.9", nil, "203.0.113.9"},
		{"a socket's name", "@", []string{"203.0.113.9"}, "invalid IP"},
		{"nothing", "", nil, "invalid IP"},
		{"very many entries", "10.0.0.1:80", []string{"203.0.113.9," + strings.Repeat("10.0.0.2,", 100_000) + "10.0.0.3"}, "10.0.0.2"},
		{"one very long entry", "10.0.0.1:80", []string{strings.Repeat("1", 100_000)}, "10.0.0.1"},
	} {
		if got := ClientAddr(row.remote, row.forwarded, trusted); got.String() != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if got := ClientAddr("10.0.0.1:80", []string{"203.0.113.9"}, nil); got.String() != "10.0.0.1" {
		t.Errorf("nobody is trusted: %s", got)
	}
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.9": "203.0.113.0/24", "::ffff:203.0.113.9": "203.0.113.0/24", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::1": "::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

func TestParsePrefixes(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "  ": nil,
		"10.0.0.0/8,127.0.0.1":       {"10.0.0.0/8", "127.0.0.1/32"},
		" 10.0.0.0/8 , ::1,fd00::/8": {"10.0.0.0/8", "::1/128", "fd00::/8"},
		"::ffff:10.0.0.1":            {"10.0.0.1/32"},
		"0.0.0.0/0":                  {"0.0.0.0/0"},
	} {
		var got []string
		for _, p := range prefixes(t, text) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.1/8":              "write 10.0.0.0/8",
		"10.0.0.0/8,":             "2 of",
		"10.0.0.0/33":             "no network",
		"localhost":               "no address",
		"10.0.0.0/8;127.0.0.1":    "no network",
		"fe80::1%eth0":            "no address",
		"::ffff:10.0.0.0/104":     "IPv4 inside IPv6",
		"10.0.0.0/8,,192.168.0.1": "it is empty",
	} {
		if got, err := ParsePrefixes(text); err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

func TestRefererHost(t *testing.T) {
	for referer, want := range map[string]string{
		"https://Example.COM/path?q=1#f": "example.com", "http://example.com:8080/": "example.com", "https://user:secret@example.com/": "example.com",
		"https://example.com.": "example.com", "https://xn--fiqs8s.example/": "xn--fiqs8s.example", "http://localhost/": "localhost", "https://mp.weixin.qq.com/s/abc": "mp.weixin.qq.com",
		"android-app://com.tencent.mm/": "com.tencent.mm", "http://192.0.2.1/": "192.0.2.1", "http://[2001:db8::1]:80/": "2001:db8::1", "http://a_b.example/": "a_b.example",
		"": "", "example.com": "", "//example.com/": "", "about:blank": "", "javascript:alert(1)": "", "file:///etc/passwd": "", "data:text/html,x": "",
		"https://": "", "https:///path": "", "https://exa mple.com/": "", "https://ex<b>.com/": "", "https://例子.example/": "", "https://a..b/": "", "https://-a.b/": "", "https://a-.b/": "",
		"https://%zz/": "", "https://\x00/": "", "\xff\xfe": "",
		"https://" + strings.Repeat("a", 64) + ".com/":                       "",
		"https://" + strings.Repeat("abc.", 64) + "com/":                     "",
		"https://example.com/" + strings.Repeat("x", 9000):                   "",
		"https://" + strings.Repeat(strings.Repeat("a", 62)+".", 3) + "com/": strings.Repeat(strings.Repeat("a", 62)+".", 3) + "com",
	} {
		if got := RefererHost(referer); got != want {
			t.Errorf("%.60q: %q, want %q", referer, got, want)
		}
	}
}

func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:80", "1.2.3.4, 203.0.113.9", "10.0.0.2")
	f.Add("[::1]:80", "[2001:db8::7]:443,unknown", "")
	f.Add("@", ",,,", "%")
	trusted := prefixes(f, "10.0.0.0/8,::1")
	f.Fuzz(func(t *testing.T, remote, first, second string) {
		got := ClientAddr(remote, []string{first, second}, trusted)
		peer := ClientAddr(remote, nil, trusted)
		if got.IsValid() != peer.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%v of peer %v", got, peer)
		}
		if peer.IsValid() && !isTrusted(peer, trusted) && got != peer {
			t.Fatalf("an untrusted peer %v was believed to be %v", peer, got)
		}
		// Whatever a client writes in front, what its proxy appended wins.
		const real = "203.0.113.9"
		if got := ClientAddr("10.0.0.1:80", []string{remote, first + "," + second + ", " + real}, trusted); got.String() != real {
			t.Fatalf("a client turned itself into %v", got)
		}
		if n := Network(got); got.IsValid() != (n != "") || strings.Contains(n, "%") {
			t.Fatalf("network %q of %v", n, got)
		}
	})
}

func FuzzRefererHost(f *testing.F) {
	for _, s := range []string{"https://Example.COM:8080/path", "http://[::1]/", "android-app://com.tencent.mm/", "https://user:p@h./", "://", "https://\xff/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host := RefererHost(s)
		if len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.:") != "" {
			t.Fatalf("%q", host)
		}
		if host != "" && !strings.Contains(host, ":") && RefererHost("https://"+host+"/") != host {
			t.Fatalf("%q is no host of its own", host)
		}
	})
}
