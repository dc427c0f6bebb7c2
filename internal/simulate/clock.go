package simulate

import "time"

// rhythm turns a share of all events (0 to 1) into the moment of the span by
// which that share has happened, following dayCurve.
type rhythm struct {
	start time.Time
	span  time.Duration
	cum   []float64 // activity up to the end of each step, the last is the total
}

const rhythmSteps = 2048

func newRhythm(start time.Time, span time.Duration) rhythm {
	r := rhythm{start: start, span: span, cum: make([]float64, rhythmSteps)}
	total := 0.0
	for i := range r.cum {
		at := start.Add(time.Duration((float64(i) + 0.5) / rhythmSteps * float64(span)))
		total += activity(at)
		r.cum[i] = total
	}
	return r
}

// activity is how busy the moment is, between the hours' middles in a straight line.
func activity(at time.Time) float64 {
	seconds := (at.Unix() + chinaOffset) % 86400
	hours := float64(seconds)/3600 - 0.5
	if hours < 0 {
		hours += 24
	}
	h := int(hours)
	f := hours - float64(h)
	return dayCurve[h%24]*(1-f) + dayCurve[(h+1)%24]*f
}

// at is the moment by which share of everything has happened. Monotone.
func (r *rhythm) at(share float64) time.Time {
	want := share * r.cum[len(r.cum)-1]
	lo, hi := 0, len(r.cum)-1
	for lo < hi {
		if mid := (lo + hi) / 2; r.cum[mid] < want {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	before := 0.0
	if lo > 0 {
		before = r.cum[lo-1]
	}
	in := (want - before) / (r.cum[lo] - before)
	return r.start.Add(time.Duration((float64(lo) + in) / float64(len(r.cum)) * float64(r.span)))
}
