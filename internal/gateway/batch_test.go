package gateway_test

import (
	"fmt"
	"strings"
	"testing"
)

const textCSV = "Content-Type: text/csv"

// Whoever has a file to mend is told every bad row at once, and nothing of it is minted.
func TestEveryBadRowIsTold(t *testing.T) {
	h := newHouse(t)
	csv := "\ufeffprofile;name;url;capacity;url_2\r\n" +
		"wechat-group;一;https://example.com/1;5;\r\n" +
		"wechat-group;二\r\n" + // 3: ragged
		"wechat-group;三;https://example.com/3;many;\r\n" + // 4
		"\r\n;;;;\r\n" +
		"wechat-group;四;https://example.com/4;;http://10.0.0.1/\r\n" + // 7
		"wechat-group;{colour};https://example.com/5;;\r\n" + // 8
		"wechat;六;https://example.com/6;;\r\n" // 9
	for _, query := range []string{"", "?validate=true"} {
		p := h.admin("POST", "/v1/codes/batch"+query, csv, textCSV).want(t, 400).json(t)
		if p["bad"] != 5.0 || p["line"] != 3.0 || p["code"] != "bad_csv" {
			t.Errorf("%s: %v", query, p)
		}
		var got []string
		for _, r := range p["rows"].([]any) {
			row := r.(map[string]any)
			got = append(got, fmt.Sprintf("%v %v %v %v", row["line"], row["column"], row["field"], row["code"]))
		}
		want := "3 <nil> body bad_csv, 4 4 capacity invalid_value, 7 5 url_2 private_target, 8 2 name invalid_value, 9 1 profile unknown_profile"
		byLine := strings.Join(got, ", ")
		if byLine != want {
			t.Errorf("%s:\n got %s\nwant %s", query, byLine, want)
		}
	}
	good := strings.Join(strings.Split(csv, "\r\n")[:2], "\r\n")
	if got := h.admin("POST", "/v1/codes/batch?validate=true", good, textCSV).want(t, 200).json(t)["valid"]; got != 1.0 {
		t.Errorf("valid = %v", got)
	}
	if n := len(h.admin("GET", "/v1/codes", "").json(t)["codes"].([]any)); n != 0 {
		t.Errorf("%d codes were minted", n)
	}
	minted := h.admin("POST", "/v1/codes/batch?name=n-{seq:3}&seq=998", strings.ReplaceAll(good, "一", ""), textCSV).want(t, 201).json(t)
	if name := minted["codes"].([]any)[0].(map[string]any)["name"]; name != "n-998" {
		t.Errorf("named %v", name)
	}
}

func TestFilesThatAreNoCSV(t *testing.T) {
	h := newHouse(t)
	rows := strings.Repeat("wechat-group,https://example.com/1\n", 10_000)
	many := strings.Repeat("x,y\n", 10_000)
	for _, row := range []struct {
		name, body, code, detail string
		line, column             any
	}{
		{"UTF-16", "\xff\xfeu\x00r\x00l\x00\n\x00", "bad_csv", "UTF-16", nil, nil},
		{"GBK", "profile,url,name\nwechat-group,https://example.com/1,\xc4\xe3\xba\xc3\n", "invalid_utf8", "CSV UTF-8", 2.0, 3.0},
		{"NUL", "profile,url,name\nwechat-group,https://example.com/1,a\x00\n", "invalid_utf8", "NUL", 2.0, 3.0},
		{"workbook", "PK\x03\x04", "bad_csv", "workbook", nil, nil},
		{"column twice", "profile,url,URL\n", "duplicate_field", "twice", 1.0, 3.0},
		{"10 001 rows", "profile,url\n" + rows + "wechat-group,https://example.com/1\n", "too_many", "at most", nil, nil},
		{"10 000 bad rows", "profile,url\n" + many, "unknown_profile", "9999 more", 2.0, 1.0},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := h.admin("POST", "/v1/codes/batch?validate=true", row.body, textCSV).want(t, 400).json(t)
			if p["code"] != row.code || !strings.Contains(p["detail"].(string), row.detail) || p["line"] != row.line || p["column"] != row.column {
				t.Errorf("%.500v", p)
			}
			if list, _ := p["rows"].([]any); len(list) > 100 {
				t.Errorf("%d rows", len(list))
			}
		})
	}
	h.admin("POST", "/v1/codes/batch?validate=true", "profile,url\n"+rows, textCSV).want(t, 200)
	for _, query := range []string{"validate=yes", "seq=0", "seq=x"} {
		h.admin("POST", "/v1/codes/batch?"+query, `[{}]`).want(t, 400)
	}
	h.admin("POST", "/v1/codes/batch", `{"seq":0,"codes":[{}]}`).want(t, 400)
}
