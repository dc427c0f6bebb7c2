package main

type windowsSpec struct{}

func windows(windowsSpec) (int, error) { return 0, nil }
