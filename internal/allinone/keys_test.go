package allinone_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/token/keyfile"
)

const openID = "oLogSearchedForThis_28chars"

// TestKeysInARunningInstallation lives through a rotation with everything logged: pictures and producers' tokens of every profile are taken before and after, and
// refused once their key is retired; huoma verify, which reads the log later with other keys, finds the same; and no key, token or
// OpenID is anywhere in the log.
func TestKeysInARunningInstallation(t *testing.T) {
	dir := t.TempDir()
	ready, data := filepath.Join(dir, "ready.json"), filepath.Join(dir, "data")
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	up := exec.Command(filepath.Join(bin, "huoma"), "up", "--data", data, "--addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--clickhouse-addr", "127.0.0.1:0",
		"--clickhouse-http-addr", "127.0.0.1:0", "--api-key", apiKey, "--ready-file", ready, "--log-level", "debug", "--registered-domains", "example.com")
	up.Stderr = log
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if up.ProcessState == nil {
			_ = up.Process.Signal(syscall.SIGTERM)
			_ = up.Wait()
		}
	}
	defer stop()
	var at struct {
		Gateway        string `json:"gateway"`
		NATS           string `json:"nats"`
		ClickHouse     string `json:"clickhouse"`
		ClickHouseHTTP string `json:"clickhouse_http"`
	}
	until(t, "ready", true, func() bool {
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &at) == nil && at.Gateway != ""
	})
	in := &installation{t: t, keys: filepath.Join(data, "keyring.json"), Addresses: allinone.Addresses{Gateway: at.Gateway, NATS: at.NATS, ClickHouse: at.ClickHouse, ClickHouseHTTP: at.ClickHouseHTTP}}
	nc, err := nats.Connect(in.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	codes := map[string]minted{}
	for _, profile := range []string{"wechat-group", "wechat-static", "wecom-group", "miniprogram"} {
		codes[profile] = in.mint(map[string]any{"profile": profile, "targets": []any{map[string]any{"url": "https://example.com/group"}}})
	}
	var texts []string // every token there ever was
	published := 0
	publish := func(code, text string) {
		t.Helper()
		published++
		b := cloudEvent("huoma.scan.v1", fmt.Sprintf("k-%d", published), code, fmt.Sprintf(`{"token":%q,"openid":%q}`, text, openID))
		if err := nc.Publish("huoma.in.scan."+code, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	metric := func(line string) bool {
		resp, err := http.Get(in.Gateway + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return strings.Contains(b.String(), "\n"+line+"\n")
	}
	change := func(f func(*token.Keyring) (*token.Keyring, error)) {
		t.Helper()
		if err := keyfile.Update(in.keys, f); err != nil {
			t.Fatal(err)
		}
	}
	old := map[string]string{}
	for profile, c := range codes {
		old[profile] = c.Token
		texts = append(texts, c.Token)
		if resp := in.person().scan(c.ScanURL); resp.StatusCode != http.StatusFound {
			t.Errorf("%s: %s", profile, resp.Status)
		}
		publish(c.ID, c.Token)
	}
	change(func(k *token.Keyring) (next *token.Keyring, err error) {
		next, _, err = k.Rotate(rand.Reader, time.Now(), time.Now())
		return next, err
	})
	until(t, "the new key seals", true, func() bool { return metric("huoma_keyring_sealing_key 1") })
	for profile, c := range codes {
		var fresh minted
		if status := in.call("GET", "/v1/codes/"+c.ID, nil, &fresh); status != http.StatusOK {
			t.Fatalf("%s: %d", profile, status)
		}
		texts = append(texts, fresh.Token)
		if fresh.Token == c.Token || fresh.Tracking != c.Tracking {
			t.Errorf("%s: %+v after %+v", profile, fresh, c)
		}
		for _, text := range []string{c.Token, fresh.Token} {
			publish(c.ID, text)
			if resp := in.person().scan(in.Gateway + "/S/" + text); resp.StatusCode != http.StatusFound {
				t.Errorf("%s: %s", profile, resp.Status)
			}
		}
	}
	until(t, "producers' scans", "12", func() string {
		return in.query("SELECT count() FROM scans WHERE answered = '' AND tracking != ''")
	})
	change(func(k *token.Keyring) (*token.Keyring, error) { return k.Retire(0, time.Now()) })
	until(t, "the old key is retired", true, func() bool { return metric("huoma_keyring_open_keys 1") })
	for profile, c := range codes {
		if resp := in.person().scan(c.ScanURL); resp.StatusCode != http.StatusNotFound || resp.Header.Get("Huoma-Verdict") != "forged" {
			t.Errorf("%s, retired: %s %s", profile, resp.Status, resp.Header.Get("Huoma-Verdict"))
		}
		publish(c.ID, old[profile])
	}
	publish(codes["wechat-static"].ID, codes["miniprogram"].Token)
	// A broken file, refused loudly, with everything else that a file of keys may hold said nowhere.
	whole, err := os.ReadFile(in.keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.keys, whole[:len(whole)-40], 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the broken file is refused", true, func() bool { return metric("huoma_keyring_refused 1") })
	if err := os.WriteFile(in.keys, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "dead letters", true, func() bool { return metric(`huoma_dead_letters_total{reason="invalid_value"} 5`) })
	in.proven()

	keys, err := keyfile.Load(in.keys)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	b, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.Contains(text, "level=DEBUG") || !strings.Contains(text, "cannot be used") {
		t.Fatalf("the log of %d bytes is not the one that was asked for", len(text))
	}
	hidden := map[string]string{"an OpenID": openID}
	for i, s := range regexp.MustCompile(`[A-Za-z0-9+/]{43}=`).FindAllString(string(whole), -1) {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		hidden[fmt.Sprintf("secret %d", i)], hidden[fmt.Sprintf("secret %d in hex", i)] = s[:16], hex.EncodeToString(raw)[:16]
	}
	for _, name := range []string{"visitor", "tracking", "idempotency", "renewal-link", "request-fingerprint"} {
		hidden["the subkey "+name] = hex.EncodeToString(keys.Purpose(name))[:16]
		hidden["the subkey "+name+" in base 64"] = base64.StdEncoding.EncodeToString(keys.Purpose(name))[:16]
	}
	for i, s := range texts {
		hidden[fmt.Sprintf("token %d", i)] = s
	}
	for what, s := range hidden {
		if strings.Contains(strings.ToUpper(text), strings.ToUpper(s)) {
			t.Errorf("the log has %s", what)
		}
	}
	if len(hidden) < 8+1+6+10 {
		t.Errorf("only %d things are looked for", len(hidden))
	}
}
