package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const driver = "/usr/lib/softhsm/libsofthsm2.so"

// must fails the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// command runs a program of Debian's packages.
func command(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
}

// openTestToken makes a token of SoftHSM with both kinds of keys. Without SoftHSM the test is skipped, unless ARAUTO_REQUIRE_SOFTHSM=1.
func openTestToken(t *testing.T) *token {
	t.Helper()
	for _, program := range []string{"softhsm2-util", "pkcs11-tool"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("ARAUTO_REQUIRE_SOFTHSM") == "1" {
				t.Fatal("there is no " + program + ", and ARAUTO_REQUIRE_SOFTHSM=1")
			}
			t.Skip("there is no " + program)
		}
	}
	dir := t.TempDir()
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "conf"))
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("directories.tokendir = "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "softhsm2-util", "--init-token", "--free", "--label", "test", "--pin", "1234", "--so-pin", "12345678")
	command(t, "pkcs11-tool", "--module", driver, "--login", "--pin", "1234", "--keypairgen", "--key-type", "EC:edwards25519", "--label", "log", "--id", "01")
	command(t, "pkcs11-tool", "--module", driver, "--login", "--pin", "1234", "--keypairgen", "--key-type", "rsa:2048", "--label", "brseal", "--id", "02")
	command(t, "pkcs11-tool", "--module", driver, "--login", "--pin", "1234", "--keypairgen", "--key-type", "EC:prime256v1", "--label", "other", "--id", "03")
	opened := must[*token](t)(openToken(driver, "test", "1234"))
	t.Cleanup(opened.close)
	return opened
}

// TestATokenSignsWithBothAlgorithms, and refuses everything else with a reason.
func TestATokenSignsWithBothAlgorithms(t *testing.T) {
	opened := openTestToken(t)
	if len(opened.keys) != 2 {
		t.Fatalf("keys of other kinds are passed over: %v", opened.keys)
	}
	dir := must[string](t)(os.MkdirTemp("", "sg"))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	left := must[net.Listener](t)(net.Listen("unix", socket)) // a process that was killed leaves its socket behind
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(opened, socket, 0o660) }()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not serve its socket")
		}
	}
	if mode := must[os.FileInfo](t)(os.Stat(socket)).Mode().Perm(); mode != 0o660 {
		t.Fatalf("mode %o", mode)
	}
	if _, err := listen(socket, 0o660); err == nil || !strings.Contains(err.Error(), "another process serves") {
		t.Fatalf("a second process: %v", err)
	}
	ask := func(r map[string]any) (int, []byte, string) {
		t.Helper()
		body := must[[]byte](t)(json.Marshal(r))
		resp := must[*http.Response](t)(client.Post("http://signer/sign", "application/json", bytes.NewReader(body)))
		defer resp.Body.Close()
		var said struct {
			Signature []byte
			Error     string
		}
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, said.Signature, said.Error
	}
	text := []byte("a checkpoint")
	digest := sha256.Sum256(text)
	for _, k := range opened.keys {
		public := must[any](t)(x509.ParsePKIXPublicKey(k.public))
		r := map[string]any{"key": k.id, "algorithm": k.algorithm}
		switch public := public.(type) {
		case ed25519.PublicKey:
			r["message"] = text
			status, signature, why := ask(r)
			if status != 200 || !ed25519.Verify(public, text, signature) {
				t.Fatalf("%s: %d %s", k.label, status, why)
			}
		case *rsa.PublicKey:
			r["digest"] = digest[:]
			status, signature, why := ask(r)
			if status != 200 || rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: sha256.Size}) != nil {
				t.Fatalf("%s: %d %s", k.label, status, why)
			}
			r["digest"] = digest[:20]
			if status, _, why := ask(r); status != 400 || !strings.Contains(why, "SHA-256") {
				t.Fatalf("a short digest: %d %s", status, why)
			}
		}
		r["algorithm"] = "RS256"
		if status, _, _ := ask(r); status != 400 {
			t.Fatalf("another algorithm: %d", status)
		}
	}
	if status, _, why := ask(map[string]any{"key": "unknown", "algorithm": "PS256"}); status != 404 || why == "" {
		t.Fatalf("an unknown key: %d %s", status, why)
	}
	if status, _, _ := ask(map[string]any{"key": "unknown", "member": 1}); status != 400 {
		t.Fatalf("an unknown member: %d", status)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	default:
	}
}

// TestATokenThatCannotBeUsedIsNamed at the start.
func TestATokenThatCannotBeUsedIsNamed(t *testing.T) {
	openTestToken(t).close()
	for name, open := range map[string]func() error{
		"cannot be loaded": func() error { _, err := openToken("/nowhere.so", "test", "1234"); return err },
		"no slot has":      func() error { _, err := openToken(driver, "another", "1234"); return err },
		"log in":           func() error { _, err := openToken(driver, "test", "9999"); return err },
	} {
		if err := open(); err == nil || !strings.Contains(err.Error(), name) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
