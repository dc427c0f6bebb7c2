package verify

import (
	"math/big"
	"strings"
	"time"
)

// fourths is a decimal number with at most four places, in ten-thousandths; 0 for what is none.
func fourths(text string) *big.Int {
	whole, frac, _ := strings.Cut(text, ".")
	n, ok := new(big.Int).SetString(whole+(frac + "0000")[:4], 10)
	if !ok {
		return new(big.Int)
	}
	return n
}

// decimal writes ten-thousandths as the warehouse does: without zeros at the end.
func decimal(n *big.Int) string {
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
	}
	digits := new(big.Int).Abs(n).String()
	if len(digits) < 5 {
		digits = strings.Repeat("0", 5-len(digits)) + digits
	}
	point := len(digits) - 4
	return sign + strings.TrimRight(strings.TrimRight(digits[:point]+"."+digits[point:], "0"), ".")
}

// orNull is a moment in milliseconds, or "" for none.
func orNull(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return millis(t)
}
