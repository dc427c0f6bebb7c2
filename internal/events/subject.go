package events

import (
	"fmt"
	"strconv"
	"strings"
)

// Streams and buckets, by name.
const (
	StreamEvents    = "HUOMA_EVENTS"    // what happened
	StreamDecisions = "HUOMA_DECISIONS" // what it means: a commit subject per partition
	StreamAlerts    = "HUOMA_ALERTS"    // alerts, one by one, for subscribers
	StreamDLQ       = "HUOMA_DLQ"       // what could not be understood, with the reason
	BucketCodes     = "HUOMA_CODES"     // code definitions, by id
	BucketTraces    = "HUOMA_TRACES"    // whose watermarks are, by trace number
	BucketState     = "HUOMA_STATE"     // snapshots of the scan workers, by partition
	StreamImports   = "HUOMA_IMPORTS"   // ledger of imports: ids by day, made by the first import
)

// Header fields on our NATS messages.
const (
	HeaderMsgID       = "Nats-Msg-Id"
	HeaderContentType = "Content-Type"
	HeaderReason      = "Huoma-Reason"   // dead letter: the error code
	HeaderDetail      = "Huoma-Detail"   // dead letter: the sentence
	HeaderSubject     = "Huoma-Subject"  // dead letter: the subject it was published to
	HeaderPlace       = "Huoma-Place"    // dead letter: partition/sequence/index
	HeaderProducer    = "Huoma-Producer" // gateway record: the gateway's instance
	HeaderRecord      = "Huoma-Record"   // gateway record: its number, from 1, in that instance and partition
	HeaderSpooled     = "Huoma-Spooled"  // gateway record: when it was written into the gateway's spool, as SpooledTime
	HeaderImport      = "Huoma-Import"   // ledger of imports: the import that wrote the entry
	HeaderChunk       = "Huoma-Chunk"    // ledger of imports: its number for what it announces at once
	HeaderCloses      = "Huoma-Closes"   // ledger of imports: sequences of the announcements closed, with commas
)

// Kinds of stored subjects, see StoredSubject.
const (
	KindGateway = "gw"    // records of a gateway: batches of any type
	KindTimer   = "timer" // a schedule has fired
)

// InSubject is where a producer publishes an event for a code: kind is scan,
// member or conversion.
func InSubject(kind, code string) string { return "huoma.in." + kind + "." + code }

// InKind is the kind a producer publishes an event type under, or "".
func InKind(typ string) string {
	switch typ {
	case TypeScan:
		return "scan"
	case TypeMemberJoined, TypeMemberLeft, TypeMemberSnapshot:
		return "member"
	case TypeConversion:
		return "conversion"
	}
	return ""
}

// Subjects and transform of HUOMA_EVENTS. The server itself maps
// huoma.in.<kind>.<code> to huoma.ev.<partition>.in.<kind>, so a producer
// needs to know nothing of partitions.
const (
	SubjectIn       = "huoma.in.>"
	SubjectEvents   = "huoma.ev.>"
	SubjectSchedule = "huoma.sched.>"
	TransformSource = "huoma.in.*.*"
)

// TransformDestination is the server-side mapping for n partitions.
func TransformDestination(n int) string {
	return fmt.Sprintf("huoma.ev.{{partition(%d,2)}}.in.{{wildcard(1)}}", n)
}

// StoredSubject is where an event of a partition is stored: kind is KindGateway,
// KindTimer or "in.scan", "in.member", "in.conversion".
func StoredSubject(partition int, kind string) string {
	return "huoma.ev." + strconv.Itoa(partition) + "." + kind
}

// PartitionFilter is all that is stored for a partition.
func PartitionFilter(partition int) string { return "huoma.ev." + strconv.Itoa(partition) + ".>" }

// StoredKind takes a stored subject apart. ok is false for anything else.
func StoredKind(subject string) (partition int, kind string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "huoma.ev.")
	if !ok {
		return 0, "", false
	}
	p, kind, ok := strings.Cut(rest, ".")
	n, err := strconv.Atoi(p)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != p || kind == "" {
		return 0, "", false
	}
	return n, kind, true
}

// ScheduleSubject is where the timer of a code is kept: one a code, replaced
// by publishing again.
func ScheduleSubject(partition int, code string) string {
	return "huoma.sched." + strconv.Itoa(partition) + "." + code
}

// CommitSubject is where a partition's commit records are.
func CommitSubject(partition int) string { return "huoma.commit." + strconv.Itoa(partition) }

// CommitFilter is every commit record.
const CommitFilter = "huoma.commit.*"

// AlertSubject is where one alert is published: huoma.alert.<kind>.<code>.
func AlertSubject(kind, code string) string { return "huoma.alert." + kind + "." + code }

// DecisionSubject is where one decision is published: huoma.decision.<kind>.<code>.
func DecisionSubject(kind, code string) string { return "huoma.decision." + kind + "." + code }

// Subjects of HUOMA_IMPORTS.
const (
	SubjectImports      = "huoma.import.>"
	SubjectImportKey    = "huoma.import.key"   // the key that event ids are drawn with
	SubjectImportClosed = "huoma.import.close" // announcements that are settled
)

// ImportDaySubject is where ids of events of a day are announced: day is
// written as 20260131.
func ImportDaySubject(day string) string { return "huoma.import.day." + day }

// DLQSubject is where a dead letter of a partition is stored.
func DLQSubject(partition int) string { return "huoma.dlq." + strconv.Itoa(partition) }

// Partition is FNV-1a-32 of the code id modulo n, the server's own partition().
func Partition(code string, n int) int {
	if n <= 1 {
		return 0
	}
	h := uint32(2166136261)
	for i := 0; i < len(code); i++ {
		h ^= uint32(code[i])
		h *= 16777619
	}
	return int(h % uint32(n))
}
