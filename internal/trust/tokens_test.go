package trust

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
)

// TestHowTheGrantIsKnownIsSaidAloud: arauto check prints it, and warns where nothing shows it.
func TestHowTheGrantIsKnownIsSaidAloud(t *testing.T) {
	for grant, says := range map[string]string{
		"claim": "by the claim grant_type", "subject": "by sub, which must equal client_id", "introspection": "by the answer of tokens.introspection_url",
		"unchecked": "WARNING tokens: the grant is not checked",
	} {
		cfg := config.Standard()
		cfg.Tokens.Grant = grant
		require.Contains(t, grantFinding(cfg.Tokens), says)
	}

	var lines bytes.Buffer
	cfg := config.Standard()
	cfg.Tokens.Grant, cfg.Tokens.IntrospectionURL = "unchecked", "https://as.bank.example/introspect"
	tr := newTrust(cfg, slog.New(slog.NewTextHandler(&lines, nil)), nil)
	of := &Brand{BrandSettings: cfg.EachBrand()[0], asker: tr.fetcher, log: tr.log}
	_, err := of.AccessTokens()
	require.NoError(t, err)
	require.Contains(t, lines.String(), "level=WARN")
	require.Contains(t, lines.String(), "tokens.grant")
}
