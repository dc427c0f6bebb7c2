package visit

import "testing"

func TestCutNetworkKeepsNoAddress(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"203.0.113.77", "203.0.113.0/24"},
		{"203.0.113.77/32", "203.0.113.0/24"},
		{"203.0.113.77/24", "203.0.113.0/24"},
		{"203.0.113.77/16", "203.0.0.0/16"},
		{"2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{"2001:db8:1:2:3::4/128", "2001:db8:1:2::/64"},
		{"2001:db8::/48", "2001:db8::/48"},
		{"::ffff:203.0.113.77", "203.0.113.0/24"},
		{"::ffff:203.0.113.77/128", "203.0.113.0/24"},
		{"cmnet", "cmnet"},
		{"", ""},
	} {
		if got := CutNetwork(row.in); got != row.want {
			t.Errorf("CutNetwork(%q) = %q, want %q", row.in, got, row.want)
		}
	}
}
