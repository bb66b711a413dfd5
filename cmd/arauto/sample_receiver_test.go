package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/webhook"
)

// TestTheReceiversOfTheSamplesKeepTheirDuties runs the texts of the page: each takes a notification of the product, repeats its id, and
// refuses another organisation. A language whose tools are not there is skipped.
func TestTheReceiversOfTheSamplesKeepTheirDuties(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "samples", "receiver", "README.md"))
	require.NoError(t, err)
	p, err := pki()
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, p.Write(folder, certs.Content{}))
	stranger, err := p.Issue(p.Spoil(p.HolderBRCAC(), certs.WrongOrganisation))
	require.NoError(t, err)
	require.NoError(t, stranger.WriteFiles(filepath.Join(folder, "stranger.pem"), filepath.Join(folder, "stranger.key")))
	roots, err := mtls.LoadAnchors(filepath.Join(folder, "trust", "roots.pem"))
	require.NoError(t, err)

	for _, language := range []struct {
		name, file, tool string
		run              func(t *testing.T, file string) *exec.Cmd
	}{
		{"go", "receiver.go", "go", func(t *testing.T, file string) *exec.Cmd {
			t.Helper()
			program := filepath.Join(t.TempDir(), "receiver")
			out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, file).CombinedOutput()
			require.NoError(t, err, string(out))
			return exec.CommandContext(t.Context(), program)
		}},
		{"js", "receiver.js", "node", func(t *testing.T, file string) *exec.Cmd { return exec.CommandContext(t.Context(), "node", file) }},
		{"java", "Receiver.java", "java", func(t *testing.T, file string) *exec.Cmd { return exec.CommandContext(t.Context(), "java", file) }},
	} {
		t.Run(language.name, func(t *testing.T) {
			if _, err := exec.LookPath(language.tool); err != nil {
				t.Skip(language.tool, "is not installed")
			}
			text := regexp.MustCompile("(?ms)^```" + language.name + "\n(.*?)^```$").FindSubmatch(page)
			require.NotNil(t, text)
			file := filepath.Join(t.TempDir(), language.file)
			require.NoError(t, os.WriteFile(file, text[1], 0o600))
			port := port.For(t).Number()
			out := &lines{grown: make(chan struct{}, 1)}
			cmd := language.run(t, file)
			cmd.Env = append(os.Environ(), "PKI="+folder, "HOLDER="+certs.DefaultHolder.ID, fmt.Sprintf("PORT=%d", port))
			cmd.Stdout, cmd.Stderr = out, out
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			out.within(t, `(listening)`, 2*time.Minute)
			send := func(who string) notice.Result {
				id, err := mtls.LoadIdentity(filepath.Join(folder, who+".pem"), filepath.Join(folder, who+".key"), mtls.AsClient)
				require.NoError(t, err)
				s := webhook.New(webhook.Config{Identity: id, Roots: roots, Guard: webhook.NewGuard(loopback, nil)})
				defer s.Close()
				got, err := s.Send(t.Context(), notice.Attempt{
					Interaction: notice.ID{6: 0x40, 8: 0x80, 15: 1}, Client: "itp", Kind: ofb.PaymentConsent, ResourceID: "urn:banco:1", APIVersion: "v5",
					EventAt: time.Now().UTC().Truncate(time.Second), Number: 1, BaseURI: fmt.Sprintf("https://localhost:%d", port), ClaimedAt: time.Now(),
				})
				require.NoError(t, err)
				return got
			}
			got := send(filepath.Join("holder", "brcac"))
			require.Equal(t, 202, got.HTTPStatus, got.Detail)
			require.Equal(t, notice.EchoMatch, got.Echo)
			require.Equal(t, "/open-banking/webhook/v1/payments/v5/consents/urn:banco:1", out.until(t, `ask for the status of (\S+)`))
			require.Equal(t, 403, send("stranger").HTTPStatus)
		})
	}
}
