package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// logoURI is a small logo as a data: URI.
func logoURI(t testing.TB) string {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 48, 48))
	for i := range 48 * 48 {
		img.Set(i%48, i/48, color.NRGBA{uint8(i % 48 * 5), 80, uint8(i / 48 * 5), 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
}

// picture fetches one and reads what it says.
func (h *house) picture(path string) (text string, img image.Image) {
	h.t.Helper()
	a := h.admin("GET", path, "").want(h.t, 200)
	img, err := png.Decode(bytes.NewReader(a.body))
	if err != nil {
		h.t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		h.t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		h.t.Fatalf("%s: %v", path, err)
	}
	return result.GetText(), img
}

// TestStyledPictures mints with every field of a style, and looks for each in what is drawn.
func TestStyledPictures(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"targets":[{"url":"https://example.com/a"}],
		"style":{"fg":"#102a43","shape":"round","badge":"3群","mm":40,"dpi":300,"quiet":5,"copy":"扫码入群"},
		"variants":[{"name":"a"},{"name":"b","shape":"dots","badge":"VIP","copy":"Join us","fg":"#7a1f1f"}]`)
	want := strings.ToUpper(c["scan_url"].(string))
	text, img := h.picture(c["qr_png"].(string))
	if text != want {
		t.Errorf("it says %s, want %s", text, want)
	}
	if w, tall := img.Bounds().Dx(), img.Bounds().Dy(); w != 472 || tall <= w {
		t.Errorf("40 mm at 300 dpi with words below are %d × %d pixels, want 472 and more", w, tall)
	}
	svg := string(h.admin("GET", c["qr_svg"].(string), "").want(t, 200).body)
	if !strings.Contains(svg, `width="40mm"`) || !strings.Contains(svg, `fill="#102a43"`) || strings.Contains(svg, "crispEdges") {
		t.Errorf("svg begins %.300s", svg)
	}
	second := c["pictures"].([]any)[1].(map[string]any)
	if text, _ = h.picture(second["qr_png"].(string)); text != strings.ToUpper(second["scan_url"].(string)) {
		t.Errorf("the second says %s", text)
	}
	if other := string(h.admin("GET", second["qr_svg"].(string), "").want(t, 200).body); !strings.Contains(other, `fill="#7a1f1f"`) || !strings.Contains(other, "a0.46 0.46") {
		t.Errorf("the second svg begins %.300s", other)
	}
	path := "/v1/codes/" + c["id"].(string) + "/qr.png"
	plain, _ := h.picture(path + "?shape=square&badge=&plate=off&size=300&fg=%23000")
	_, small := h.picture(path + "?size=300&badge=")
	if plain != want || small.Bounds().Dx() != 300 {
		t.Errorf("asked for in the query: %s, %v", plain, small.Bounds())
	}
	if _, inch := h.picture(path + "?mm=25.4&dpi=600"); inch.Bounds().Dx() != 600 {
		t.Errorf("an inch at 600 dpi is %v", inch.Bounds())
	}
	changed := h.admin("PATCH", "/v1/codes/"+c["id"].(string), `{"style":{"logo":"`+logoURI(t)+`","size":600},"variants":null}`).want(t, 200).json(t)
	if style := changed["style"].(map[string]any); style["badge"] != nil || style["size"] != 600.0 || style["logo"] != logoURI(t) {
		t.Errorf("the style is %.200v", style)
	}
	if text, img = h.picture(path); text != want || img.Bounds() != image.Rect(0, 0, 600, 600) {
		t.Errorf("with a logo: %s, %v", text, img.Bounds())
	}
	if svg := string(h.admin("GET", strings.Replace(path, ".png", ".svg", 1), "").want(t, 200).body); !strings.Contains(svg, `href="data:image/png;base64,`) {
		t.Errorf("svg begins %.300s", svg)
	}
}

// TestProfilesForceTheirVersion looks at what the picture is, not at what was asked for.
func TestProfilesForceTheirVersion(t *testing.T) {
	h := newHouse(t)
	for profile, modules := range map[string]int{"wechat-group": 29, "wecom-group": 33} {
		c := h.admin("POST", "/v1/codes", `{"profile":"`+profile+`","targets":[{"url":"https://example.com/a"}]}`).want(t, 201).json(t)
		path := "/v1/codes/" + c["id"].(string) + "/qr.svg"
		for _, query := range []string{"", "?rendering=article", "?rendering=international"} {
			svg := string(h.admin("GET", path+query, "").want(t, 200).body)
			if want := `viewBox="0 0 ` + map[int]string{29: "37 37", 33: "41 41"}[modules] + `"`; !strings.Contains(svg, want) {
				t.Errorf("%s%s: svg begins %.150s, want %s", profile, query, svg, want)
			}
		}
		p := h.admin("GET", path+"?ec=H", "").want(t, 400).json(t)
		if detail, _ := p["detail"].(string); p["field"] != "content" || !strings.Contains(detail, "save ") {
			t.Errorf("%s at level H: %v", profile, p)
		}
	}
}

func TestStylesRefusedAtMint(t *testing.T) {
	h := newHouse(t)
	header := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\xea\x60\x00\x00\xea\x60\x08\x02\x00\x00\x00") // 60000 × 60000, true colour
	bomb := "data:image/png;base64," + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(header, crc32.ChecksumIEEE(header[12:])))
	for _, row := range []struct{ name, style, variants, field, want string }{
		{"badge of 200 characters", `"badge":"` + strings.Repeat("x", 200) + `"`, "", "style.badge", "200 characters"},
		{"badge too long to scan", `"badge":"ABCDEFGHIJKLMNOPQRSTUVWX"`, "", "style.badge", "half"},
		{"emoji", `"badge":"满😀"`, "", "style.badge", "emoji"},
		{"right to left", `"copy":"انضم"`, "", "style.copy", "right to left"},
		{"a variant's emoji", ``, `{"name":"a"},{"copy":"👍"}`, "variants[1].copy", "emoji"},
		{"a variant's shape", ``, `{"shape":"hearts"}`, "variants[0].shape", "square, round or dots"},
		{"a variant against the style", `"bg":"#333333"`, `{"fg":"#444444"}`, "variants[0].fg", "contrast"},
		{"transparent", `"fg":"transparent","bg":"transparent"`, "", "style.fg", "contrast"},
		{"a name", `"fg":"navy"`, "", "style.fg", "write #000080"},
		{"quiet zone -1", `"quiet":-1`, "", "style.quiet", "4 to 32"},
		{"quiet zone 0", `"quiet":0`, "", "style.quiet", "leave it out"},
		{"millimetres without sense", `"mm":-3`, "", "style.mm", "such as 30"},
		{"a house", `"mm":9000`, "", "style.mm", "outside"},
		{"size 10", `"size":10`, "", "style.size", "64 to 4096"},
		{"size 100000", `"size":100000`, "", "style.size", "64 to 4096"},
		{"both measures", `"size":300,"mm":30`, "", "style.size", "not both"},
		{"dpi", `"dpi":5`, "", "style.dpi", "72 to 2400"},
		{"plate", `"plate":"maybe"`, "", "style.plate", "on or off"},
		{"a logo that is none", `"logo":"data:image/png;base64,aGVsbG8="`, "", "style.logo", "no PNG or JPEG"},
		{"a logo elsewhere", `"logo":"https://example.com/logo.png"`, "", "style.logo", "data:image/png"},
		{"a logo not in base64", `"logo":"data:image/png;base64,%%%"`, "", "style.logo", "base64"},
		{"a bomb", `"logo":"` + bomb + `"`, "", "style.logo", "60000 × 60000"},
		{"a large logo", `"logo":"data:image/png;base64,` + strings.Repeat("A", 44000) + `"`, "", "style.logo", "32768"},
	} {
		body := `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}]`
		if row.style != "" {
			body += `,"style":{` + row.style + `}`
		}
		if row.variants != "" {
			body += `,"variants":[` + row.variants + `]`
		}
		p := h.admin("POST", "/v1/codes", body+"}").want(t, 400).json(t)
		if detail, _ := p["detail"].(string); p["field"] != row.field || !strings.Contains(detail, row.want) {
			t.Errorf("%s: %v, want %s: %q", row.name, p, row.field, row.want)
		}
	}
	c := h.mint(`"targets":[{"url":"https://example.com/a"}]`)
	for query, field := range map[string]string{
		"size=100000": "size", "quiet=-1": "quiet", "quiet=3": "quiet", "mm=0": "mm", "mm=abc": "mm", "mm=NaN": "mm", "mm=30&size=300": "size", "dpi=1": "dpi",
		"shape=hearts": "shape", "plate=maybe": "plate", "badge=" + strings.Repeat("x", 200): "badge", "badge=" + url.QueryEscape("שלום"): "badge",
		"fg=transparent&bg=transparent": "fg", "fg=black": "fg", "rendering=poster": "rendering", "logo=x": "logo", "plate=on&size=80": "plate",
	} {
		if p := h.admin("GET", "/v1/codes/"+c["id"].(string)+"/qr.png?"+query, "").want(t, 400).json(t); p["field"] != field {
			t.Errorf("%s: %v, want field %s", query, p, field)
		}
	}
}
