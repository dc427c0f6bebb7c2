package main

import "fmt"

func recoveryName(events int) string {
	return fmt.Sprintf("scan worker recovers, %s events in the log", number(float64(events)))
}
