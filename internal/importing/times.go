package importing

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeValue says where a record's time is and how it is written.
type timeValue struct {
	from   value
	layout string // Go's
	unix   time.Duration
	zone   *time.Location // of times without one; nil: none was named
	since  time.Time      // records from then on
	until  time.Time      // and before then; zero: whenever
}

// Named layouts.
const commonLayout = "02/Jan/2006:15:04:05 -0700"

var layouts = map[string]string{
	"rfc3339": time.RFC3339Nano,
	"common":  commonLayout,
	"iso":     "2006-01-02 15:04:05.999999999",
	"date":    "2006-01-02",
}

var unixLayouts = map[string]time.Duration{
	"unix": time.Second, "unix_ms": time.Millisecond, "unix_us": time.Microsecond, "unix_ns": time.Nanosecond,
}

// strftime are the directives of strftime that have a Go layout.
var strftime = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'b': "Jan", 'B': "January", 'e': "_2", 'a': "Mon", 'A': "Monday",
	'I': "03", 'p': "PM", 'z': "-0700", 'Z': "MST", 'f': "999999", 'T': "15:04:05", 'F': "2006-01-02", 'D': "01/02/06", 'R': "15:04", '%': "%",
}

// setLayout takes a layout over. It returns what is wrong with it.
func (t *timeValue) setLayout(layout string) string {
	if unit, ok := unixLayouts[layout]; ok {
		t.unix = unit
		return ""
	}
	switch named, ok := layouts[layout]; {
	case ok:
		t.layout = named
	case strings.Contains(layout, "%"):
		var b strings.Builder
		for i := 0; i < len(layout); i++ {
			if layout[i] != '%' {
				b.WriteByte(layout[i])
				continue
			}
			i++
			if i == len(layout) {
				return "layout ends in a single %"
			}
			to, ok := strftime[layout[i]]
			if !ok {
				return fmt.Sprintf("layout has %%%s, which is not known: use %%Y %%m %%d %%H %%M %%S %%z and their like", clip(layout[i:i+1]))
			}
			b.WriteString(to)
		}
		t.layout = b.String()
	default:
		t.layout = layout
	}
	// A layout that means anything writes two different times in two ways.
	a, b := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC), time.Date(2032, 11, 28, 17, 48, 59, 0, time.UTC)
	if a.Format(t.layout) == b.Format(t.layout) || !strings.Contains(a.Format(t.layout), "21") {
		return "layout is rfc3339, iso, date, common, unix, unix_ms, unix_us, unix_ns, a strftime pattern such as %Y-%m-%d %H:%M:%S, or a layout of Go"
	}
	hasZone := a.Format(t.layout) != a.In(time.FixedZone("XYZ", 5*3600+1800)).Add(-5*time.Hour-30*time.Minute).Format(t.layout)
	if !hasZone && t.zone == nil {
		return "the layout has no time zone: name it with zone, such as Asia/Shanghai or UTC"
	}
	return ""
}

var errTime = bad("the time cannot be read by the layout of the mapping")

// parse reads a time.
func (t *timeValue) parse(s string) (time.Time, *Bad) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, bad("the time is missing")
	}
	var at time.Time
	switch {
	case t.unix != 0:
		whole, fraction, hasFraction := strings.Cut(s, ".")
		n, err := strconv.ParseInt(whole, 10, 64)
		if err != nil || n < 0 || hasFraction && t.unix == time.Nanosecond {
			return time.Time{}, errTime
		}
		perSecond := int64(time.Second / t.unix)
		at = time.Unix(n/perSecond, n%perSecond*int64(t.unix))
		if hasFraction {
			f, err := strconv.ParseUint(fraction, 10, 63)
			if err != nil || len(fraction) > 9 {
				return time.Time{}, errTime
			}
			unit := float64(t.unix)
			for range len(fraction) {
				unit /= 10
			}
			at = at.Add(time.Duration(float64(f)*unit + 0.5))
		}
	case t.layout == commonLayout:
		var ok bool
		if at, ok = parseCommon(s); !ok {
			return time.Time{}, errTime
		}
	default:
		zone := t.zone
		if zone == nil {
			zone = time.UTC
		}
		var err error
		if at, err = time.ParseInLocation(t.layout, s, zone); err != nil {
			return time.Time{}, errTime
		}
	}
	at = at.UTC()
	if y := at.Year(); y < 1970 || y > 2261 {
		return time.Time{}, bad("the time lies outside the years 1970 to 2261")
	}
	return at, nil
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// parseCommon reads 31/Jan/2026:08:15:30 +0800, as time.Parse would, in a tenth of its time.
func parseCommon(s string) (time.Time, bool) {
	if len(s) != 26 || s[2] != '/' || s[6] != '/' || s[11] != ':' || s[14] != ':' || s[17] != ':' || s[20] != ' ' {
		return time.Time{}, false
	}
	month := strings.Index(months, s[3:6])
	day, ok1 := number(s[:2])
	year, ok2 := number(s[7:11])
	hour, ok3 := number(s[12:14])
	minute, ok4 := number(s[15:17])
	second, ok5 := number(s[18:20])
	zoneHour, ok6 := number(s[22:24])
	zoneMinute, ok7 := number(s[24:26])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) || month < 0 || month%3 != 0 || s[21] != '+' && s[21] != '-' ||
		hour > 23 || minute > 59 || second > 59 || zoneHour > 24 || zoneMinute > 59 || day < 1 {
		return time.Time{}, false
	}
	at := time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC)
	if at.Day() != day {
		return time.Time{}, false // the 31st of a month with 30 days
	}
	offset := time.Duration(zoneHour)*time.Hour + time.Duration(zoneMinute)*time.Minute
	if s[21] == '+' {
		offset = -offset
	}
	return at.Add(offset), true
}

func number(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
