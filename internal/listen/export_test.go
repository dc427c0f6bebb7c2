package listen

import "time"

// SetYoung sets how long a connection is left alone.
func (l *Listener) SetYoung(d time.Duration) { l.young = d }
