package qr_test

import (
	"errors"
	"fmt"

	"github.com/huoma/huoma/internal/qr"
)

func ExampleEncode() {
	s, err := qr.Encode(qr.Options{
		Content: "HTTPS://GO.EXAMPLE.COM/S/E6CF42CTI7QKACYSSBLZLCNOZ4P46ZLEGU",
		Version: 3, Level: qr.LevelM, Foreground: "#1a5fb4",
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Version(), s.Level(), s.Width())

	_, err = qr.Encode(qr.Options{Content: "HTTPS://GO.EXAMPLE.COM/", Foreground: "#ffd700"})
	var refused *qr.Error
	fmt.Println(errors.As(err, &refused), refused.Field)
	fmt.Println(err)
	// Output:
	// 3 M 37
	// true fg
	// picture: fg: #ffd700 on #ffffff has a contrast of 1.40:1, and readers need 3:1: take a darker foreground or a lighter background
}
