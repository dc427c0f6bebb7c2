package schemas_test

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/schemas"
)

type asyncRef struct {
	Ref string `yaml:"$ref"`
}

type asyncAPI struct {
	AsyncAPI string `yaml:"asyncapi"`
	Channels map[string]struct {
		Address    string
		Parameters map[string]struct {
			Ref  string `yaml:"$ref"`
			Enum []string
		}
		Messages map[string]asyncRef
	}
	Operations map[string]struct {
		Action  string
		Channel asyncRef
	}
	Components struct {
		Parameters    map[string]any
		MessageTraits map[string]any `yaml:"messageTraits"`
		Messages      map[string]struct {
			Name        string
			ContentType string `yaml:"contentType"`
			Traits      []asyncRef
			Payload     struct {
				SchemaFormat string `yaml:"schemaFormat"`
				Schema       map[string]any
			}
		}
	}
}

func asyncDocument(t testing.TB) (doc asyncAPI) {
	t.Helper()
	b, err := fs.ReadFile(schemas.API, "asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestAsyncAPIAddressesAreTheProgramsSubjects(t *testing.T) {
	doc := asyncDocument(t)
	if doc.AsyncAPI != "3.0.0" {
		t.Errorf("version %s", doc.AsyncAPI)
	}
	want := map[string]string{
		"scan":       events.InSubject(events.InKind(events.TypeScan), "{code}"),
		"member":     events.InSubject(events.InKind(events.TypeMemberJoined), "{code}"),
		"conversion": events.InSubject(events.InKind(events.TypeConversion), "{code}"),
		"alerts":     events.AlertSubject("{kind}", "{code}"),
		"decisions":  events.DecisionSubject("{kind}", "{code}"),
		"commits":    strings.TrimSuffix(events.CommitFilter, "*") + "{partition}",
	}
	got := map[string]string{}
	for name, c := range doc.Channels {
		got[name] = c.Address
		var params []string
		for part := range strings.SplitSeq(c.Address, ".") {
			if strings.HasPrefix(part, "{") {
				params = append(params, strings.Trim(part, "{}"))
			}
		}
		if have := slices.Sorted(maps.Keys(c.Parameters)); !slices.Equal(have, slices.Sorted(slices.Values(params))) {
			t.Errorf("channel %s describes the parameters %v of %s", name, have, c.Address)
		}
		for p, v := range c.Parameters {
			if v.Ref != "" && doc.Components.Parameters[strings.TrimPrefix(v.Ref, "#/components/parameters/")] == nil {
				t.Errorf("channel %s, parameter %s: %s leads nowhere", name, p, v.Ref)
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("addresses %v\nwant %v", got, want)
	}
	if s := events.CommitSubject(7); strings.Replace(got["commits"], "{partition}", "7", 1) != s {
		t.Errorf("commits of partition 7 are at %s", s)
	}

	alerts := []string{string(code.AlertCapacity), string(code.AlertRisk), string(code.AlertRenewal), string(code.AlertExpiry)}
	if kinds := doc.Channels["alerts"].Parameters["kind"].Enum; !slices.Equal(kinds, alerts) {
		t.Errorf("alert kinds %v, want %v", kinds, alerts)
	}
	var decisions []string
	for _, k := range []code.Kind{code.KindLock, code.KindUnlock, code.KindFlag, code.KindDryRun, code.KindRotate, code.KindFull, code.KindCap, code.KindExpire, code.KindRenew, code.KindRevoke, code.KindReopen} {
		decisions = append(decisions, string(k))
	}
	if kinds := doc.Channels["decisions"].Parameters["kind"].Enum; !slices.Equal(kinds, decisions) {
		t.Errorf("decision kinds %v, want %v", kinds, decisions)
	}
}

func TestAsyncAPIOperations(t *testing.T) {
	doc := asyncDocument(t)
	seen := map[string]string{}
	for name, op := range doc.Operations {
		channel := strings.TrimPrefix(op.Channel.Ref, "#/channels/")
		if _, ok := doc.Channels[channel]; !ok {
			t.Errorf("operation %s: %s leads nowhere", name, op.Channel.Ref)
		}
		seen[channel] = op.Action
	}
	for name, c := range doc.Channels {
		want := "send"
		if strings.HasPrefix(c.Address, strings.TrimSuffix(events.SubjectIn, ">")) {
			want = "receive"
		}
		if seen[name] != want {
			t.Errorf("%s: the program's part in it is %q, want %q", name, seen[name], want)
		}
	}
}

func TestAsyncAPIMessagesResolve(t *testing.T) {
	doc := asyncDocument(t)
	c := compiler(t)
	said := map[string][]string{} // channel → event types
	used := map[string]bool{}
	for channel, ch := range doc.Channels {
		for name, ref := range ch.Messages {
			key := strings.TrimPrefix(ref.Ref, "#/components/messages/")
			m, ok := doc.Components.Messages[key]
			if !ok {
				t.Errorf("channel %s, message %s: %s leads nowhere", channel, name, ref.Ref)
				continue
			}
			used[key] = true
			for _, trait := range m.Traits {
				if doc.Components.MessageTraits[strings.TrimPrefix(trait.Ref, "#/components/messageTraits/")] == nil {
					t.Errorf("message %s: %s leads nowhere", key, trait.Ref)
				}
			}
			if m.Payload.SchemaFormat != "application/schema+json;version=draft-2020-12" {
				t.Errorf("message %s has the format %s", key, m.Payload.SchemaFormat)
			}
			where := base + "asyncapi." + key // relative references start from the document
			if err := c.AddResource(where, value(t, encode(t, m.Payload.Schema))); err != nil && !strings.Contains(err.Error(), "exists") {
				t.Fatal(err)
			}
			sch, err := c.Compile(where)
			if err != nil {
				t.Errorf("message %s: %v", key, err)
				continue
			}
			switch m.ContentType {
			case events.ContentType:
				said[channel] = append(said[channel], m.Name)
				for _, x := range document(t, schemaOf(m.Name))["examples"].([]any) {
					if err := sch.Validate(x); err != nil {
						t.Errorf("message %s: %v", key, err)
					}
				}
			case events.ContentTypeBatch:
				x := document(t, schemaOf(map[string]string{"scan": events.TypeScan, "member": events.TypeMemberLeft, "conversion": events.TypeConversion}[channel]))["examples"].([]any)[0]
				if err := sch.Validate([]any{x, x}); err != nil {
					t.Errorf("message %s: %v", key, err)
				}
				if err := sch.Validate(slices.Repeat([]any{x}, events.MaxBatch+1)); err == nil {
					t.Errorf("message %s: a batch of %d passes", key, events.MaxBatch+1)
				}
			case "application/json":
				if err := sch.Validate(document(t, "commit.json")["examples"].([]any)[0]); err != nil {
					t.Errorf("message %s: %v", key, err)
				}
			default:
				t.Errorf("message %s has the content type %s", key, m.ContentType)
			}
		}
	}
	for name := range doc.Components.Messages {
		if !used[name] {
			t.Errorf("message %s is on no channel", name)
		}
	}
	want := map[string][]string{}
	for _, typ := range constants(t) {
		switch kind := events.InKind(typ); {
		case kind != "":
			want[kind] = append(want[kind], typ)
		case strings.HasPrefix(typ, "huoma.alert."):
			want["alerts"] = append(want["alerts"], typ)
		case typ == events.TypeDecision:
			want["decisions"] = append(want["decisions"], typ)
		}
	}
	for channel, types := range want {
		slices.Sort(types)
		slices.Sort(said[channel])
		if !slices.Equal(said[channel], types) {
			t.Errorf("channel %s carries %v, want %v", channel, said[channel], types)
		}
	}
}
