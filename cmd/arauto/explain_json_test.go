package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

// explainJSON runs explain --json, and reads each line.
func explainJSON(t *testing.T, environ []string, args ...string) (out []map[string]any, code int) {
	t.Helper()
	got := call(t, time.Minute, environ, append([]string{"explain", "--json"}, args...)...)
	require.Empty(t, got.errors)
	for _, line := range strings.Split(strings.TrimSpace(got.out), "\n") {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &one), line)
		out = append(out, one)
	}
	return out, got.code
}

func TestExplainPrintsTheVerdictOnAChangeForPrograms(t *testing.T) {
	t.Parallel()
	all, code := explainJSON(t, []string{"LANG=pt_BR.UTF-8"}, "--change", changeLine(t, "alfa", "pay-1", ofb.ACSC))
	require.Equal(t, done, code)
	require.Len(t, all, 1)
	require.Equal(t, true, all[0]["ok"])
	require.Nil(t, all[0]["mapping"])
	require.Equal(t, "pay-1", all[0]["change"].(map[string]any)["data"].(map[string]any)["paymentId"])
	verdict := all[0]["verdict"].(map[string]any)
	require.Equal(t, "applied", verdict["outcome"])
	require.Equal(t, "database.url is not set", verdict["databaseNotRead"], "texts are English whatever the language")
	ruling := verdict["ruling"].(map[string]any)
	require.Equal(t, []any{"must", "webhook §5.2", true, "ACSC"}, []any{ruling["duty"], ruling["clause"], ruling["announced"], ruling["status"]})
	require.Nil(t, ruling["registered"], "the database was not asked")
	request := ruling["request"].(map[string]any)
	require.Equal(t, "https://registered-address.invalid/open-banking/webhook/v1/payments/v5/pix/payments/pay-1", request["url"])
	require.Contains(t, request["text"], "POST /open-banking/webhook/v1/payments/v5/pix/payments/pay-1 HTTP/1.1\r\n")
	require.Equal(t, true, request["placeholder"])

	all, code = explainJSON(t, nil, "--change", changeLine(t, "alfa", "pay-1", ofb.RCVD))
	require.Equal(t, done, code)
	ruling = all[0]["verdict"].(map[string]any)["ruling"].(map[string]any)
	require.Equal(t, []any{"must not", "not-a-trigger", false, nil}, []any{ruling["duty"], ruling["reason"], ruling["announced"], ruling["request"]})

	bad := strings.Replace(changeLine(t, "alfa", "pay-1", ofb.ACSC), `"currency":"BRL"`, `"currency":7`, 1)
	all, code = explainJSON(t, []string{"ARAUTO_SCHEMA_NONCONFORMING=refuse"}, "--change", bad)
	require.Equal(t, failed, code)
	require.Equal(t, false, all[0]["ok"])
	verdict = all[0]["verdict"].(map[string]any)
	require.Equal(t, "quarantined", verdict["outcome"])
	problem := verdict["problems"].([]any)[0].(map[string]any)
	require.Equal(t, "/data/payment/currency", problem["pointer"])
	require.NotContains(t, problem, "detail_pt")

	for _, wrong := range []string{`{"kind":"pix-payment","colour":"red"}`, `{not JSON`} {
		all, code = explainJSON(t, nil, "--change", wrong)
		require.Equal(t, failed, code)
		require.Equal(t, "invalid", all[0]["verdict"].(map[string]any)["outcome"])
		require.Len(t, all[0]["verdict"].(map[string]any)["problems"], 1)
	}
	require.Equal(t, `{not JSON`, all[0]["change"], "what is no JSON stays a text")
}

func TestExplainPrintsTheStepsOfAMappingForPrograms(t *testing.T) {
	t.Parallel()
	row, err := os.ReadFile(filepath.Join(samples, "..", "kafka", "pagamento.json"))
	require.NoError(t, err)
	all, code := explainJSON(t, nil, "--source", filepath.Join(samples, "..", "kafka", "core.yaml"), "--row", string(row))
	require.Equal(t, done, code)
	mapping := all[0]["mapping"].(map[string]any)
	require.Equal(t, "pix-payment", mapping["kind"])
	steps := mapping["steps"].([]any)
	require.NotEmpty(t, steps)
	for _, one := range steps {
		step := one.(map[string]any)
		require.NotEmpty(t, step["key"])
		require.Nil(t, step["error"])
	}
	require.Empty(t, mapping["problems"])
	require.Equal(t, "applied", all[0]["verdict"].(map[string]any)["outcome"])
}
