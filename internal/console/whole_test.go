package console

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// TestAPeriodThatTheLogDoesNotHaveWhollyIsSaidToBeSo: a month of before the log, or one that was removed, was one in which no time was missed and
// nobody asked for anything.
func TestAPeriodThatTheLogDoesNotHaveWhollyIsSaidToBeSo(t *testing.T) {
	const sums = `{"asOf":{"at":"2026-11-28T14:04:41Z","position":7,"size":9,"wholeSince":"2026-11-16T12:00:00Z","tail":0},"total":{"notifications":0,"first":{"judged":0}},"rows":[]}`
	internal := answers{
		"GET /internal/v1/audit/statistics": sums, "GET /internal/v1/notifications": oneNotification,
		"GET /internal/v1/audit/polling": `{"month":"2026-11","from":"2026-11-01T03:00:00Z","to":"2026-12-01T03:00:00Z","wholeSince":"2026-11-16T12:00:00Z","clients":[],"withPush":{},"withoutPush":{}}`,
	}
	require.Contains(t, both(t, answers{"GET /internal/v1/initiators": `{"initiators":[{"clientId":"alfa"}],"asOf":{"at":"2026-11-28T14:04:41Z","position":7,"size":9,"tail":2,"wholeSince":"2026-11-16T12:00:00Z"},"from":"2026-11-27T15:00:00Z","down":0,"unknownChanges":0}`}, "/initiators", "/initiators", nil),
		`Números das últimas 24 horas: desde <time datetime="2026-11-27T15:00:00.000000Z">`)
	for path, lacks := range map[string]bool{
		"/late?month=2026-11": true, "/late?from=2026-11-16T09:00&to=2026-11-17T00:00": false, "/polling?month=2026-11": true,
		"/notifications?from=2026-11-01T00:00&to=2026-11-20T00:00": true, "/notifications?from=2026-11-16T09:00&to=2026-11-20T00:00": false,
	} {
		template, _, _ := strings.Cut(path, "?")
		for lang, says := range map[page.Lang]string{
			page.Portuguese: "O log não tem todos os registros de antes de <time datetime=\"2026-11-16T12:00:00.000000Z\">", page.English: "The log does not have every entry from before <time",
		} {
			require.Equal(t, lacks, strings.Contains(shown(t, internal, lang, http.MethodGet, template, path, nil), says), path)
		}
	}
	lacking := both(t, internal, "/late", "/late?month=2026-11", nil)
	require.Contains(t, lacking, "Nos registros que o log tem deste período, nenhum prazo foi perdido.")
	require.NotContains(t, lacking, "Nenhuma tentativa foi julgada")
	require.Contains(t, both(t, internal, "/late", "/late?from=2026-11-16T09:00&to=2026-11-17T00:00", nil), "Nenhuma tentativa foi julgada neste período")
	for gap, says := range map[string]string{`"judged":8`: "Nenhum prazo perdido neste período.", `"judged":0,"unknown":2`: "Entre as tentativas com veredito que o log tem deste período, nenhum prazo foi perdido."} {
		judged := answers{"GET /internal/v1/audit/statistics": strings.Replace(sums, `"judged":0`, gap, 1)}
		require.Contains(t, both(t, judged, "/late", "/late?from=2026-11-16T09:00&to=2026-11-17T00:00", nil), says)
		require.NotContains(t, both(t, judged, "/late", "/late?month=2026-11", nil), "Nenhum prazo perdido")
	}
	require.Contains(t, both(t, internal, "/late", "/late?month=2026-11", nil), "passaram de 1,5 s e ainda não começaram; esta página, só as que terminaram", "the report counts more")
	polling := both(t, internal, "/polling", "/polling?month=2026-11", nil)
	require.Contains(t, polling, "O que o log tem deste mês não traz mudanças nem consultas.")
	require.Contains(t, polling, "Números até <time", "a month that is not over is read up to now")
}

// TestFiguresSayUpToWhichEntryTheyReachAndWhetherLaterOnesAreMissing: they gave a time alone, also where thousands of entries were not counted.
func TestFiguresSayUpToWhichEntryTheyReachAndWhetherLaterOnesAreMissing(t *testing.T) {
	const behind = "Os registros mais novos são muitos e ainda não entram nestes números"
	for asOf, says := range map[string]string{
		`"position":7,"size":9,"tail":2`: "registro 9 do log</p>", `"position":7,"size":9,"tail":5`: "registro 9 do log e 3 ainda não selados</p>", `"position":7,"size":9,"tail":3`: "registro 9 do log e 1 ainda não selado</p>",
		`"position":7,"size":9000,"tail":null`: "registro 7 do log</p>",
	} {
		internal := answers{
			"GET /internal/v1/overview":               strings.Replace(overviewNow, `"asOf":{`, `"asOf":{`+asOf+`,"wholeSince":"2026-11-28T11:00:00Z",`, 1),
			"GET /internal/v1/initiators/beta/health": strings.Replace(downHealth, `"asOf":{`, `"asOf":{`+asOf+`,"wholeSince":"2026-11-28T11:00:00Z",`, 1),
		}
		for template, vars := range map[string]map[string]string{"/": nil, "/initiators/{clientId}": {"clientId": "beta"}} {
			text := both(t, internal, template, strings.Replace(template, "{clientId}", "beta", 1), vars)
			require.Contains(t, text, says)
			require.Equal(t, strings.Contains(asOf, "null"), strings.Contains(text, behind))
			require.Contains(t, text, `desde <time datetime="2026-11-28T11:00:00.000000Z">`, "no period begins before the log")
		}
	}
}

// TestFiguresOfNothingThatIsCountedClaimNothing: before the first fold, with thousands of entries in the log, pages said that nothing had happened.
func TestFiguresOfNothingThatIsCountedClaimNothing(t *testing.T) {
	const (
		behind    = "Os registros mais novos são muitos e ainda não entram nestes números"
		uncounted = "Ainda não há números contados"
	)
	for size, warns := range map[string]bool{"9000": true, "0": false} {
		asOf := `{"asOf":{"at":null,"position":0,"size":` + size + `,"wholeSince":null,"tail":null},`
		internal := answers{
			"GET /internal/v1/overview":         asOf + `"windows":[],"queue":{}}`,
			"GET /internal/v1/audit/statistics": asOf + `"total":{"notifications":0,"first":{"judged":0}},"rows":[]}`,
			"GET /internal/v1/notifications":    oneNotification,
		}
		for _, path := range []string{"/", "/late", "/notifications"} {
			text := both(t, internal, path, path, nil)
			require.Equal(t, warns, strings.Contains(text, behind), "%s of %s", path, size)
			require.Equal(t, path != "/notifications", strings.Contains(text, uncounted), "%s of %s", path, size)
			for _, claim := range []string{"Nenhuma tentativa foi julgada", "O core não informou nenhuma mudança"} {
				require.NotContains(t, text, claim, path)
			}
		}
	}
}
