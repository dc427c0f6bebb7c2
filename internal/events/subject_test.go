package events

import (
	"hash/fnv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPartition(t *testing.T) {
	for _, row := range []struct {
		code string
		n    int
		want int
	}{
		{"", 64, 2166136261 % 64},
		{"a", 64, 0xe40c292c % 64},      // FNV-1a-32 reference vectors
		{"foobar", 64, 0xbf9cf968 % 64}, //
		{"foobar", 1, 0},
		{"foobar", 0, 0},
		{"foobar", -3, 0},
	} {
		if got := Partition(row.code, row.n); got != row.want {
			t.Errorf("%q of %d: %d, want %d", row.code, row.n, got, row.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		code, n := rapid.String().Draw(t, "code"), rapid.IntRange(1, 5000).Draw(t, "n")
		h := fnv.New32a()
		h.Write([]byte(code))
		if got, want := Partition(code, n), int(h.Sum32()%uint32(n)); got != want {
			t.Fatalf("%q of %d: %d, want %d", code, n, got, want)
		}
	})
}

func TestSubjects(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{InSubject(InKind(TypeScan), "k"), "huoma.in.scan.k"},
		{InSubject(InKind(TypeMemberJoined), "k"), "huoma.in.member.k"},
		{InSubject(InKind(TypeMemberLeft), "k"), "huoma.in.member.k"},
		{InSubject(InKind(TypeMemberSnapshot), "k"), "huoma.in.member.k"},
		{InSubject(InKind(TypeConversion), "k"), "huoma.in.conversion.k"},
		{InKind(TypeDecision), ""},
		{InKind(TypeForged), ""},
		{TransformDestination(64), "huoma.ev.{{partition(64,2)}}.in.{{wildcard(1)}}"},
		{StoredSubject(7, KindGateway), "huoma.ev.7.gw"},
		{StoredSubject(7, "in.scan"), "huoma.ev.7.in.scan"},
		{PartitionFilter(7), "huoma.ev.7.>"},
		{ScheduleSubject(7, "k"), "huoma.sched.7.k"},
		{CommitSubject(7), "huoma.commit.7"},
		{AlertSubject("capacity", "k"), "huoma.alert.capacity.k"},
		{DecisionSubject("lock", "k"), "huoma.decision.lock.k"},
		{DLQSubject(7), "huoma.dlq.7"},
	} {
		if row.got != row.want {
			t.Errorf("%s, want %s", row.got, row.want)
		}
	}
}

func TestStoredKind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(0, 9999).Draw(t, "partition")
		kind := rapid.SampledFrom([]string{KindGateway, KindTimer, "in.scan", "in.member", "in.conversion"}).Draw(t, "kind")
		subject := StoredSubject(p, kind)
		if gp, gk, ok := StoredKind(subject); !ok || gp != p || gk != kind {
			t.Fatalf("%s: %d %q %v", subject, gp, gk, ok)
		}
		if !strings.HasPrefix(subject, strings.TrimSuffix(PartitionFilter(p), ">")) || !strings.HasPrefix(subject, strings.TrimSuffix(SubjectEvents, ">")) {
			t.Fatalf("%s is outside its filters", subject)
		}
	})
	for _, subject := range []string{"", "huoma.ev.", "huoma.ev.1", "huoma.ev.1.", "huoma.ev.x.gw", "huoma.ev.-1.gw", "huoma.ev.+1.gw", "huoma.ev.01.gw", "huoma.ev..gw", "huoma.in.scan.k", "xhuoma.ev.1.gw"} {
		if p, kind, ok := StoredKind(subject); ok {
			t.Errorf("%q: %d %q", subject, p, kind)
		}
	}
}

func TestValidSubject(t *testing.T) {
	for s, want := range map[string]bool{
		"k3v9x0c2m5n8": true, "A-b_9": true, strings.Repeat("a", 64): true, "forged": true,
		"": false, strings.Repeat("a", 65): false, "a.b": false, "*": false, ">": false, "a b": false, "é": false, "a\x00": false, "a/b": false,
	} {
		if ValidSubject(s) != want {
			t.Errorf("%q: %v, want %v", s, !want, want)
		}
	}
}

func TestMessageGet(t *testing.T) {
	m := Message{Header: map[string][]string{HeaderProducer: {"a", "b"}, "Empty": nil}}
	if m.Get(HeaderProducer) != "a" || m.Get("Empty") != "" || m.Get("None") != "" || (Message{}).Get("x") != "" {
		t.Errorf("%q %q %q", m.Get(HeaderProducer), m.Get("Empty"), m.Get("None"))
	}
}
