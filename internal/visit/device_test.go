package visit

import (
	"strings"
	"testing"
)

func TestDevice(t *testing.T) {
	if len(people) < 40 {
		t.Fatalf("only %d agents", len(people))
	}
	for _, row := range people {
		if got := Device(row.agent); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestDeviceOfOddAgents(t *testing.T) {
	for agent, want := range map[string]DeviceInfo{
		"":           {},
		"curl/8.5.0": {App: "other"},
		"Mozilla/5.0 (Linux; Android 13; Pixel 7":                           {OS: "Android 13", App: "other"},
		"Mozilla/5.0 (Linux; Android 99999; X)":                             {Model: "X", OS: "Android", App: "other"},
		"Mozilla/5.0 (Linux; Android; X)":                                   {Model: "X", OS: "Android", App: "other"},
		"Mozilla/5.0 (Linux; Android 12; <script>alert(1)</script>)":        {Model: "scriptalert(1)/script", OS: "Android 12", App: "other"},
		"Mozilla/5.0 (Linux; Android 12; 小米 12 Build/1)":                    {Model: "12", OS: "Android 12", App: "other"},
		"Mozilla/5.0 (Linux; Android 12; " + strings.Repeat("m", 500) + ")": {Model: strings.Repeat("m", 40), OS: "Android 12", App: "other"},
		"İ (Linux; Android 12; Model)":                                      {Model: "model", OS: "Android 12", App: "other"},
	} {
		if got := Device(agent); got != want {
			t.Errorf("%.60q: %+v, want %+v", agent, got, want)
		}
	}
}

func BenchmarkDevice(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Device(people[1].agent)
	}
}
