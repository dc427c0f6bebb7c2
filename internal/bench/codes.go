package main

import "fmt"

func codesScanName(codes int) string {
	return fmt.Sprintf("durable scan at %s codes", number(float64(codes)))
}
func codesDecideName(codes int) string {
	return fmt.Sprintf("scan worker at %s codes", number(float64(codes)))
}
