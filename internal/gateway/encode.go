package gateway

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/events"
)

// append appends the scan's event to b, the very bytes Event.Marshal writes,
// without its allocations: this is done for every scan.
func (s *scanned) append(b []byte) ([]byte, error) {
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = append(b, s.id...)
	b = append(b, `","source":"`...)
	b = append(b, s.source...)
	b = append(b, `","type":"`+events.TypeScan+`","subject":"`...)
	b = append(b, s.code...)
	b = append(b, `","time":"`...)
	b = s.at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z") // scans are dated in whole milliseconds
	b = append(b, `","data":{`...)
	d := &s.data
	if d.Variant != 0 {
		b = append(b, `"variant":`...)
		b = strconv.AppendInt(b, int64(d.Variant), 10)
		b = append(b, ',')
	}
	var err error
	text := func(name, value string) {
		if value == "" || err != nil {
			return
		}
		b = append(b, name...)
		if b, err = appendQuoted(b, value); err == nil {
			b = append(b, ',')
		}
	}
	text(`"tracking":`, d.Tracking)
	text(`"visitor":`, d.Visitor)
	text(`"user_agent":`, d.UserAgent)
	text(`"network":`, d.Network)
	text(`"device_model":`, d.DeviceModel)
	text(`"os":`, d.OS)
	text(`"app":`, d.App)
	text(`"referrer_host":`, d.RefererHost)
	if u := d.UTM; u != nil && *u != (events.UTM{}) {
		b = append(b, `"utm":{`...)
		text(`"source":`, u.Source)
		text(`"medium":`, u.Medium)
		text(`"campaign":`, u.Campaign)
		text(`"term":`, u.Term)
		text(`"content":`, u.Content)
		b = append(closed(b), ',')
	}
	if d.Target != nil {
		b = append(b, `"target":`...)
		b = strconv.AppendInt(b, int64(*d.Target), 10)
		b = append(b, ',')
	}
	text(`"click_id":`, d.ClickID)
	text(`"answered":`, d.Answered)
	text(`"answered_rule":`, d.AnsweredRule)
	if err != nil {
		return b, fmt.Errorf("encode scan: %w", err)
	}
	return append(closed(b), '}'), nil
}

// closed ends an object, of which the last member may have left a comma.
func closed(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}')
}

// appendQuoted appends a JSON string; plain ASCII, which is most, is copied.
func appendQuoted(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return jsontext.AppendQuote(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), nil
}
