package chembed

import (
	"bufio"
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// revision is the native protocol's revision that the server announces: the newest that clickhouse-go and ch-go speak. It has query
// parameters (from 54459) and a byte a column that says how it is serialized (from 54454), which the engine's own Native
// format lacks and blockCopier adds. Newer clients come down to it.
const revision = 54460

// Limits on a client's packets.
const (
	maxShortString = 1 << 16 // names, ids, addresses
	maxQueryLength = 16 << 20
	maxValueLength = 1 << 20 // a setting's value
	maxSettings    = 1000
)

// Flags of a setting. A custom one is of the client's own making, and an error where it is not known, too.
const (
	settingImportant = 1
	settingCustom    = 2
)

// hello opens a connection.
type hello struct {
	client         string
	revision       int // the client's; the protocol is spoken at the lower of both
	database, user string
	password       bool // there is one
}

// query asks for one statement to be run.
type query struct {
	id       string
	settings []setting
	body     string
	compress bool
	params   []param
}

// packetReader decodes what a client sends. Every length is checked before anything is allocated for it. Its errors are
// *engineError for what breaks the protocol, else the connection's. After the first the connection cannot be used.
type packetReader struct {
	r     *bufio.Reader
	kinds func() map[string]string
	err   error
}

// readHello reads the first packet after its code.
func readHello(r *bufio.Reader) (hello, error) {
	p := packetReader{r: r}
	var h hello
	h.client = p.str("client name", maxShortString)
	p.uvarint()
	p.uvarint()
	h.revision = p.int("revision")
	h.database = p.str("database", maxShortString)
	h.user = p.str("user", maxShortString)
	h.password = p.str("password", maxShortString) != ""
	if p.err == nil && h.revision < proto.FeatureTempTables.Version() {
		p.err = codeUnsupportedMethod.errorf("the client speaks revision %d of the native protocol; at least %d is needed", h.revision, proto.FeatureTempTables.Version())
	}
	return h, p.err
}

// readAddendum reads what a client says after it has been greeted.
func readAddendum(r *bufio.Reader, rev int) error {
	p := packetReader{r: r}
	if proto.FeatureAddendum.In(rev) {
		p.str("quota key", maxShortString)
	}
	return p.err
}

// readQuery reads a query packet after its code, at the revision spoken. kinds tells the types of settings, by name, for clients of
// old, whose settings cannot be read without.
func readQuery(r *bufio.Reader, rev int, kinds func() map[string]string) (query, error) {
	p := packetReader{r: r, kinds: kinds}
	q := query{id: p.str("query id", maxShortString)}
	if rev >= 54032 {
		p.clientInfo(rev)
	}
	q.settings = p.settings(rev)
	if proto.FeatureInterServerSecret.In(rev) {
		if s := p.str("interserver secret", maxShortString); s != "" && p.err == nil {
			p.err = codeSupportDisabled.errorf("the embedded server is not part of a cluster: connect without a cluster secret")
		}
	}
	if stage := p.uvarint(); p.err == nil && stage != uint64(proto.StageComplete) {
		p.err = codeNotImplemented.errorf("the embedded server runs queries to their end only, not up to stage %d", stage)
	}
	switch v := p.uvarint(); {
	case p.err != nil:
	case v > 1:
		p.err = codeIncorrectData.errorf("unknown compression flag %d in a query", v)
	default:
		q.compress = v == 1
	}
	q.body = p.str("query", maxQueryLength)
	if proto.FeatureParameters.In(rev) {
		for _, s := range p.settings(rev) {
			q.params = append(q.params, param{s.name, restoreDump(s.value)})
		}
	}
	return q, p.err
}

// clientInfo reads and forgets who asks: there are no users, and nothing is distributed.
func (p *packetReader) clientInfo(rev int) {
	if p.byte() == 0 {
		return
	}
	p.str("initial user", maxShortString)
	p.str("initial query id", maxShortString)
	p.str("initial address", maxShortString)
	if proto.FeatureQueryStartTime.In(rev) {
		p.fixed(8)
	}
	iface := p.byte()
	if p.err == nil && iface != byte(proto.InterfaceTCP) {
		p.err = codeIncorrectData.errorf("a query from interface %d came over the native protocol", iface)
	}
	p.str("system user", maxShortString)
	p.str("host name", maxShortString)
	p.str("client name", maxShortString)
	p.uvarint()
	p.uvarint()
	p.uvarint()
	if proto.FeatureQuotaKeyInClientInfo.In(rev) {
		p.str("quota key", maxShortString)
	}
	if proto.FeatureDistributedDepth.In(rev) {
		p.uvarint()
	}
	if proto.FeatureVersionPatch.In(rev) {
		p.uvarint()
	}
	if proto.FeatureOpenTelemetry.In(rev) && p.byte() == 1 {
		p.fixed(16 + 8)
		p.str("trace state", maxShortString)
		p.fixed(1)
	}
	if proto.FeatureParallelReplicas.In(rev) {
		p.uvarint()
		p.uvarint()
		p.uvarint()
	}
}

// settings reads settings, or parameters, up to the empty name that ends them.
func (p *packetReader) settings(rev int) []setting {
	var all []setting
	for {
		name := p.str("setting name", maxShortString)
		if name == "" || p.err != nil {
			return all
		}
		var s setting
		if proto.FeatureSettingsSerializedAsStrings.In(rev) {
			flags := p.uvarint()
			s = setting{name: name, value: p.str("setting value", maxValueLength), important: flags&(settingImportant|settingCustom) != 0}
			if s.custom = flags&settingCustom != 0; s.custom {
				s.value = restoreDump(s.value)
			}
		} else {
			s = setting{name: name, value: p.typedValue(name), important: true}
		}
		if all = append(all, s); len(all) > maxSettings && p.err == nil {
			p.err = codeIncorrectData.errorf("a query with more than %d settings", maxSettings)
		}
	}
}

// typedValue reads the value of a setting as clients before 54429 send it, in a form that its type decides. Enumerations and
// fractions were texts even then.
func (p *packetReader) typedValue(name string) string {
	var kind string
	if p.err == nil {
		kind = p.kinds()[name]
	}
	switch kind {
	case "":
		if p.err == nil {
			p.err = codeUnknownSetting.errorf("Unknown setting '%s': the engine no longer has it, so what a client of old sends for it cannot be read; leave it out", clipPlain(name))
		}
		return ""
	case "Bool", "UInt64", "NonZeroUInt64", "MaxThreads", "Seconds", "Milliseconds", "BoolAuto", "UInt64Auto":
		return strconv.FormatUint(p.uvarint(), 10)
	case "Int64", "Int32":
		v := p.uvarint()
		return strconv.FormatInt(int64(v>>1)^-int64(v&1), 10)
	}
	return p.str("setting value", maxValueLength)
}

// restoreDump is the text in a field dump, which is how parameters and custom settings travel: in single quotes, with
// escapes. What is not quoted is taken as it stands.
func restoreDump(s string) string {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return s
	}
	body := s[1 : len(s)-1]
	if !strings.ContainsAny(body, `\'`) {
		return body
	}
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		c := body[i]
		if c == '\'' && i+1 < len(body) && body[i+1] == '\'' {
			i++
		}
		if c == '\\' && i+1 < len(body) {
			i++
			switch c = body[i]; c {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case '0':
				c = 0
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// readDataHead reads the name of a data packet's table, after the packet's code.
func readDataHead(r *bufio.Reader) (table string, err error) {
	p := packetReader{r: r}
	return p.str("table name", maxShortString), p.err
}

// readBlockInfo reads the fields before a block.
func readBlockInfo(r *bufio.Reader, rev int) error {
	p := packetReader{r: r}
	if !proto.FeatureBlockInfo.In(rev) {
		return nil
	}
	for {
		switch f := p.uvarint(); {
		case p.err != nil || f == 0:
			return p.err
		case f == 1:
			p.fixed(1)
		case f == 2:
			p.fixed(4)
		default:
			return codeIncorrectData.errorf("unknown field %d in a block's info", f)
		}
	}
}

func (p *packetReader) byte() byte {
	if p.err != nil {
		return 0
	}
	b, err := p.r.ReadByte()
	p.err = unexpected(err)
	return b
}

func (p *packetReader) uvarint() uint64 {
	if p.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(p.r)
	p.err = unexpected(err)
	return v
}

func (p *packetReader) int(what string) int {
	v := p.uvarint()
	if p.err == nil && v > 1<<31 {
		p.err = codeIncorrectData.errorf("%s %d", what, v)
	}
	return int(v)
}

func (p *packetReader) fixed(n int) {
	if p.err == nil {
		_, err := p.r.Discard(n)
		p.err = unexpected(err)
	}
}

func (p *packetReader) str(what string, limit uint64) string {
	n := p.uvarint()
	if p.err == nil && n > limit {
		p.err = codeTooLargeSize.errorf("%s of %d bytes; at most %d", what, n, limit)
	}
	if p.err != nil || n == 0 {
		return ""
	}
	// Long texts are not trusted to be as long as they say: memory follows the bytes that come.
	if n <= maxShortString {
		b := make([]byte, n)
		_, err := io.ReadFull(p.r, b)
		p.err = unexpected(err)
		return string(b)
	}
	b, err := io.ReadAll(io.LimitReader(p.r, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	p.err = err
	return string(b)
}
