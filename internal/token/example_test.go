package token_test

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/huoma/huoma/internal/token"
)

func Example() {
	// In a program: crypto/rand.Reader, or a keyring from the keyfile package.
	entropy := bytes.NewReader(bytes.Repeat([]byte("entropy!"), 8))
	keys, err := token.NewKeyring(entropy, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		panic(err)
	}
	code, err := token.ParseCodeID("7zz0kq3m5d8a")
	if err != nil {
		panic(err)
	}
	text, err := keys.Seal(token.Picture{Code: code, Variant: 2, Number: 41})
	if err != nil {
		panic(err)
	}
	picture, err := keys.Open(text)
	fmt.Println(len(text), picture.Code, picture.Variant, picture.Number, err)

	_, err = keys.Open(text[:33] + "7")
	fmt.Println(errors.Is(err, token.ErrForged), token.ReasonOf(err))
	// Output:
	// 34 7zz0kq3m5d8a 2 41 <nil>
	// true alphabet
}
