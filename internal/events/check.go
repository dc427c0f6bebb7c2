package events

import (
	"errors"
	"math"
	"strings"

	"github.com/huoma/huoma/internal/code"
)

// Bounds on what an event may carry, in bytes unless said otherwise.
const (
	MaxEvent   = 64 << 10 // one event, as JSON
	MaxBatch   = 1000     // events in a batch a producer sends
	MaxDepth   = 16       // nested JSON arrays and objects
	MaxText    = 1024     // a text field
	MaxName    = 256      // an id, name or attribute
	MaxVariant = 8
	MaxTarget  = 9999
	MaxCount   = 1 << 40
)

func text(field, v string, most int) *Error {
	if len(v) > most {
		return fail(CodeTooLarge, field, "is %d bytes; at most %d are allowed", len(v), most)
	}
	for _, r := range v {
		if r < 0x20 || r == 0x7f {
			return fail(CodeInvalid, field, "has a control character")
		}
	}
	return nil
}

type textField struct {
	field, value string
	most         int
}

func texts(fields ...textField) *Error {
	for _, f := range fields {
		if err := text(f.field, f.value, f.most); err != nil {
			return err
		}
	}
	return nil
}

func target(field string, n *int, required bool) *Error {
	switch {
	case n == nil && required:
		return fail(CodeMissingField, field, "name the target by its number, from 0")
	case n != nil && (*n < 0 || *n > MaxTarget):
		return fail(CodeInvalid, field, "a target's number is from 0 to %d", MaxTarget)
	}
	return nil
}

func (s *Scan) check() *Error {
	if s.Variant < 0 || s.Variant > MaxVariant {
		return fail(CodeInvalid, "data.variant", "a variant is a number from 1 to %d", MaxVariant)
	}
	if s.Answered != "" && !code.Verdict(s.Answered).Known() {
		return fail(CodeInvalid, "data.answered", "is not a verdict")
	}
	if _, ok := parseMinute(s.ShownAt); !ok {
		return fail(CodeInvalid, "data.shown_at", "write the minute the picture was shown in as %s", minuteForm)
	}
	if err := target("data.target", s.Target, false); err != nil {
		return err
	}
	if u := s.UTM; u != nil {
		if err := texts(textField{"data.utm.source", u.Source, MaxName}, textField{"data.utm.medium", u.Medium, MaxName},
			textField{"data.utm.campaign", u.Campaign, MaxName}, textField{"data.utm.term", u.Term, MaxName},
			textField{"data.utm.content", u.Content, MaxName}); err != nil {
			return err
		}
	}
	return texts(textField{"data.token", s.Token, MaxName}, textField{"data.tracking", s.Tracking, MaxName},
		textField{"data.visitor", s.Visitor, MaxName}, textField{"data.openid", s.OpenID, MaxName},
		textField{"data.user_agent", s.UserAgent, MaxText}, textField{"data.network", s.Network, MaxName},
		textField{"data.country", s.Country, MaxName}, textField{"data.province", s.Province, MaxName},
		textField{"data.city", s.City, MaxName}, textField{"data.device_model", s.DeviceModel, MaxName},
		textField{"data.os", s.OS, MaxName}, textField{"data.app", s.App, MaxName},
		textField{"data.referrer_host", s.RefererHost, MaxName}, textField{"data.click_id", s.ClickID, MaxName},
		textField{"data.answered_rule", s.AnsweredRule, MaxName})
}

func (m *Member) check() *Error {
	if err := target("data.target", m.Target, true); err != nil {
		return err
	}
	return texts(textField{"data.visitor", m.Visitor, MaxName}, textField{"data.openid", m.OpenID, MaxName}, textField{"data.click_id", m.ClickID, MaxName})
}

func (m *MemberSnapshot) check() *Error {
	if err := target("data.target", m.Target, true); err != nil {
		return err
	}
	if m.Count == nil {
		return fail(CodeMissingField, "data.count", "give the group's true size")
	}
	if *m.Count < 0 || *m.Count > MaxCount {
		return fail(CodeInvalid, "data.count", "a group's size is a whole number from 0")
	}
	return nil
}

func (c *Conversion) check() *Error {
	switch {
	case c.ClickID == "" && c.Visitor == "" && c.OpenID == "":
		return fail(CodeMissingField, "data.click_id", "name the click_id, the visitor or the openid the conversion belongs to")
	case c.Name == "":
		return fail(CodeMissingField, "data.name", "say what the conversion is, such as lead or sale")
	case c.Value == "" && c.Currency != "":
		return fail(CodeMissingField, "data.value", "a currency needs a value")
	}
	if c.Value != "" {
		if err := checkValue(string(c.Value)); err != nil {
			return err
		}
		if c.Currency == "" {
			return fail(CodeMissingField, "data.currency", "a value needs its currency, such as CNY")
		}
		if len(c.Currency) != 3 || strings.ToUpper(c.Currency) != c.Currency || strings.Trim(c.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return fail(CodeWrongUnit, "data.currency", "use an ISO 4217 code of three capital letters, such as CNY")
		}
	}
	return texts(textField{"data.click_id", c.ClickID, MaxName}, textField{"data.visitor", c.Visitor, MaxName},
		textField{"data.openid", c.OpenID, MaxName}, textField{"data.name", c.Name, 64})
}

// checkValue holds a value to what the warehouse keeps exactly: Decimal(18, 4).
func checkValue(v string) *Error {
	digits := strings.TrimPrefix(v, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	if strings.ContainsAny(v, "eE+") || len(frac) > 4 || len(whole) > 14 {
		return fail(CodeWrongUnit, "data.value", "write a decimal number with at most 14 digits before and 4 after the point, in whole currency units")
	}
	return nil
}

func (d *CodeData) check() *Error {
	err := d.Validate()
	var field *code.FieldError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &field):
		return fail(CodeInvalid, "data", "%v", err)
	case field.Missing:
		return fail(CodeMissingField, "data."+field.Field, "%s", field.Reason)
	}
	return fail(CodeInvalid, "data."+field.Field, "%s", field.Reason)
}

func (f *Forged) check() *Error {
	if f.Count < 1 {
		return fail(CodeInvalid, "data.count", "count at least one")
	}
	return text("data.network", f.Network, MaxName)
}

func (a *Alert) check() *Error {
	switch {
	case a.Code == "":
		return fail(CodeMissingField, "data.code", "name the code")
	case a.Kind == "":
		return fail(CodeMissingField, "data.kind", "name the kind")
	case math.IsNaN(a.Percent) || math.IsInf(a.Percent, 0):
		return fail(CodeInvalid, "data.percent", "is not a number")
	}
	return nil
}

func (d *Decision) check() *Error {
	switch {
	case d.Code == "":
		return fail(CodeMissingField, "data.code", "name the code")
	case d.Kind == "":
		return fail(CodeMissingField, "data.kind", "name the kind")
	}
	return nil
}
