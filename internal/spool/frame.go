package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Version is the version of segments written now.
const Version = 1

const (
	segmentMagic = "HUOMASPL"
	headerSize   = len(segmentMagic) + 4 + 8 + 4
	frameMagic   = "HSPf"
	frameHeader  = len(frameMagic) + 4 + 4 + 4
	bodyHeader   = 4 + 8 + 8 + 4 + 2
	// maxBody bounds a body: a message of NATS is at most 64 MiB.
	maxBody = 64<<20 + bodyHeader + math.MaxUint16
)

var table = crc32.MakeTable(crc32.Castagnoli)

// header is a segment's beginning.
func header(number uint64) []byte {
	b := append(make([]byte, 0, headerSize), segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, Version)
	b = binary.LittleEndian.AppendUint64(b, number)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, table))
}

// errNewer: a whole header says a version that this program does not read.
type errNewer uint32

func (v errNewer) Error() string {
	return fmt.Sprintf("it has version %d, this program reads %d: upgrade it", uint32(v), Version)
}

// checkHeader says what is wrong with a segment's beginning.
func checkHeader(b []byte, number uint64) error {
	switch {
	case len(b) == 0:
		return errors.New("it is empty")
	case len(b) < headerSize:
		return errors.New("its header is cut off")
	}
	sum := headerSize - 4
	if string(b[:len(segmentMagic)]) != segmentMagic || binary.LittleEndian.Uint32(b[sum:]) != crc32.Checksum(b[:sum], table) {
		return errors.New("its header is damaged")
	}
	if v := binary.LittleEndian.Uint32(b[len(segmentMagic):]); v != Version {
		return errNewer(v)
	}
	if n := binary.LittleEndian.Uint64(b[len(segmentMagic)+4:]); n != number {
		return fmt.Errorf("it says that it is number %d", n)
	}
	return nil
}

// appendFrame writes a record as a frame.
func appendFrame(b []byte, r events.Record) ([]byte, error) {
	size := bodyHeader + len(r.Producer) + len(r.Payload)
	if len(r.Producer) > math.MaxUint16 || size > maxBody || r.Partition < 0 || r.Partition > math.MaxInt32 || r.Events < 0 || r.Events > math.MaxInt32 {
		return b, fmt.Errorf("a record of %d bytes of partition %d does not fit into a frame", len(r.Payload), r.Partition)
	}
	start := len(b)
	b = append(b, frameMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = append(b, make([]byte, 8)...) // the checksums
	body := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Partition))
	b = binary.LittleEndian.AppendUint64(b, r.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Spooled.UnixMilli()))
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Events))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Producer)))
	b = append(b, r.Producer...)
	b = append(b, r.Payload...)
	binary.LittleEndian.PutUint32(b[start+8:], crc32.Checksum(b[body:], table))
	binary.LittleEndian.PutUint32(b[start+12:], crc32.Checksum(b[start:start+12], table))
	return b, nil
}

// frame is a whole frame and where its segment has it.
type frame struct {
	record   events.Record // Payload is a part of what was scanned
	off, end int
}

// Why there is no whole frame at a place.
type broken int

const (
	altered broken = iota // a checksum is wrong, or nothing there looks like a frame
	cut                   // the bytes end before the frame does
)

// readFrame reads the frame that b begins with. size is how many bytes it takes.
func readFrame(b []byte) (r events.Record, size int, why broken, ok bool) {
	if len(b) < frameHeader {
		return r, 0, cut, false
	}
	if string(b[:len(frameMagic)]) != frameMagic || binary.LittleEndian.Uint32(b[12:]) != crc32.Checksum(b[:12], table) {
		return r, 0, altered, false
	}
	length := int64(binary.LittleEndian.Uint32(b[4:]))
	if length < bodyHeader || length > maxBody {
		return r, 0, altered, false
	}
	size = frameHeader + int(length)
	if len(b) < size {
		return r, 0, cut, false
	}
	body := b[frameHeader:size]
	if binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(body, table) {
		return r, 0, altered, false
	}
	name := int(binary.LittleEndian.Uint16(body[24:]))
	partition, count := binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[20:])
	if bodyHeader+name > len(body) || partition > math.MaxInt32 || count > math.MaxInt32 {
		return r, 0, altered, false // written by no version of this
	}
	return events.Record{
		Partition: int(partition), Number: binary.LittleEndian.Uint64(body[4:]),
		Spooled: time.UnixMilli(int64(binary.LittleEndian.Uint64(body[12:]))).UTC(), Events: int(count),
		Producer: string(body[bodyHeader : bodyHeader+name]), Payload: body[bodyHeader+name:],
	}, size, 0, true
}

// span is a run of bytes that is no whole frame.
type span struct {
	off, end int
	torn     bool // it looks like what a write leaves that did not get to its end
}

// scan finds every whole frame of b, in order, and what lies between. base is
// added to all places.
func scan(b []byte, base int) (frames []frame, bad []span) {
	for off := 0; off < len(b); {
		r, size, why, ok := readFrame(b[off:])
		if ok {
			frames = append(frames, frame{record: r, off: base + off, end: base + off + size})
			off += size
			continue
		}
		end := next(b, off+1) // not after size: bytes may be missing
		torn := end == len(b) && (why == cut || zero(b[off:]))
		if n := len(bad); n > 0 && bad[n-1].end == base+off {
			bad[n-1].end, bad[n-1].torn = base+end, false
		} else {
			bad = append(bad, span{base + off, base + end, torn})
		}
		off = end
	}
	return frames, bad
}

// next is where the next whole frame begins, or the end.
func next(b []byte, from int) int {
	for from < len(b) {
		i := bytes.Index(b[from:], []byte(frameMagic))
		if i < 0 {
			break
		}
		from += i
		if _, _, _, ok := readFrame(b[from:]); ok {
			return from
		}
		from++
	}
	return len(b)
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
