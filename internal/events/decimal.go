package events

import "errors"

// Decimal is a JSON number kept to the letter, so that money is never rounded.
// Empty means absent.
type Decimal string

var errDecimal = errors.New("a number is needed, such as 12.50")

// MarshalJSON implements json.Marshaler.
func (d Decimal) MarshalJSON() ([]byte, error) {
	if d == "" {
		return nil, errDecimal
	}
	return []byte(d), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || (b[0] != '-' && (b[0] < '0' || b[0] > '9')) {
		return fail(CodeWrongUnit, "data.value", "is a number without quotes, in whole currency units, such as 12.50")
	}
	*d = Decimal(b)
	return nil
}
