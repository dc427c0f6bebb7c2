package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // decoder
	_ "image/png"  // decoder
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
)

func pgm(img *image.NRGBA) []byte { return grayPGM(grey(img)) }

// grayPGM is the plainest file there is, which zbarimg reads fastest.
func grayPGM(img *image.Gray) []byte {
	b := fmt.Appendf(nil, "P5\n%d %d\n255\n", img.Rect.Dx(), img.Rect.Dy())
	return append(b, img.Pix...)
}

// decode reads a file of ours.
func decode(file []byte) (*image.Gray, error) {
	if rest, ok := bytes.CutPrefix(file, []byte("P5\n")); ok {
		var w, h int
		if _, err := fmt.Sscanf(string(rest[:min(len(rest), 32)]), "%d %d\n255\n", &w, &h); err != nil {
			return nil, err
		}
		return &image.Gray{Pix: file[len(file)-w*h:], Stride: w, Rect: image.Rect(0, 0, w, h)}, nil
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(img.Bounds())
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			out.Set(x, y, img.At(x, y))
		}
	}
	return grey(out), nil
}

// luminance hands grey pixels to gozxing without a copy of each.
type luminance struct {
	gozxing.LuminanceSourceBase
	img *image.Gray
}

func (l *luminance) GetRow(y int, row []byte) ([]byte, error) {
	if y < 0 || y >= l.GetHeight() {
		return nil, fmt.Errorf("row %d of %d", y, l.GetHeight())
	}
	if len(row) < l.GetWidth() {
		row = make([]byte, l.GetWidth())
	}
	copy(row, l.img.Pix[y*l.img.Stride:][:l.GetWidth()])
	return row, nil
}

func (l *luminance) GetMatrix() []byte               { return l.img.Pix }
func (l *luminance) Invert() gozxing.LuminanceSource { return gozxing.LuminanceSourceInvert(l) }
func (l *luminance) String() string                  { return gozxing.LuminanceSourceString(l) }

// A reading is what a decoder saw.
type reading struct {
	text    string
	version int
	level   string
}

var tryHarder = map[gozxing.DecodeHintType]interface{}{gozxing.DecodeHintType_TRY_HARDER: true}

// zxing reads with gozxing: with the binarizer of photographs, then with that of screens, as its own readers do.
func zxing(img *image.Gray) (reading, error) {
	source := &luminance{gozxing.LuminanceSourceBase{Width: img.Rect.Dx(), Height: img.Rect.Dy()}, img}
	var errs []error
	for _, binarizer := range []gozxing.Binarizer{gozxing.NewHybridBinarizer(source), gozxing.NewGlobalHistgramBinarizer(source)} {
		r, err := zxingMatrix(binarizer)
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
	}
	return reading{}, errors.Join(errs...)
}

func zxingMatrix(binarizer gozxing.Binarizer) (reading, error) {
	bitmap, err := gozxing.NewBinaryBitmap(binarizer)
	if err != nil {
		return reading{}, err
	}
	matrix, err := bitmap.GetBlackMatrix()
	if err != nil {
		return reading{}, err
	}
	found, err := detector.NewDetector(matrix).Detect(tryHarder)
	if err != nil {
		return reading{}, err
	}
	version := (found.GetBits().GetWidth() - 17) / 4
	result, err := decoder.NewDecoder().Decode(found.GetBits(), tryHarder)
	if err != nil {
		return reading{}, err
	}
	return reading{result.GetText(), version, result.GetECLevel()}, nil
}

// zbar reads files with one zbarimg. The answers are by name, and have none for files in which nothing was found.
func zbar(dir string, names []string) (map[string]string, error) {
	args := append([]string{"-q", "--xml", "--nodbus", "-S", "disable", "-S", "qrcode.enable"}, names...)
	cmd := exec.Command("zbarimg", args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == nothingFound) {
		return nil, fmt.Errorf("zbarimg: %w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	var doc struct {
		Sources []struct {
			File    string   `xml:"href,attr"`
			Symbols []string `xml:"index>symbol>data"`
		} `xml:"source"`
	}
	if err := xml.Unmarshal(out.Bytes(), &doc); err != nil {
		return nil, fmt.Errorf("zbarimg: %w", err)
	}
	answers := make(map[string]string)
	for _, s := range doc.Sources {
		switch len(s.Symbols) {
		case 0:
		case 1:
			answers[s.File] = s.Symbols[0]
		default:
			answers[s.File] = strconv.Itoa(len(s.Symbols)) + " symbols"
		}
	}
	return answers, nil
}

// nothingFound is zbarimg's exit status when some file had no symbol.
const nothingFound = 4

func write(dir, name string, b []byte) error { return os.WriteFile(filepath.Join(dir, name), b, 0o600) }
