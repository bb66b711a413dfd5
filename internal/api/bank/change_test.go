package bank

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

func TestOneChangeIsAnsweredAfterItsCommit(t *testing.T) {
	w := newWorld(t)
	told := w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC"), "Content-Type: application/json; charset=UTF-8")
	require.Equal(t, 200, told.status, told.text)
	require.Equal(t, "application/json", told.header.Get("Content-Type"))
	require.Len(t, told.body, 3, "reason is there exactly when nothing is notified: %s", told.text)
	require.Equal(t, "applied", told.body["outcome"])
	require.Len(t, told.body["notifications"], 1)
	require.Equal(t, []string{"api who-ingest"}, w.memory.sources)

	again := w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC"))
	require.Equal(t, 200, again.status)
	require.Equal(t, "duplicate", again.body["outcome"])
	require.Equal(t, told.body["changeId"], again.body["changeId"])
	require.Equal(t, told.body["notifications"], again.body["notifications"])

	silent := w.ask("POST", changesPath, "ingest", payment("p2", 1, "RCVD"))
	require.Equal(t, 200, silent.status)
	require.Equal(t, "not-a-trigger", silent.body["reason"])
	require.Equal(t, []any{}, silent.body["notifications"])
}

func TestARefusedChangeSaysWhatWouldBeRight(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 200, w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC")).status)

	other := w.ask("POST", changesPath, "ingest", payment("p1", 1, "RJCT"))
	other.refused(t, 409, "conflict")
	owner := w.ask("POST", changesPath, "ingest", strings.Replace(payment("p1", 2, "ACSC"), `"itp"`, `"foe"`, 1))
	owner.refused(t, 409, "conflict")
	require.Contains(t, owner.body["error_description"], "another client")

	back := w.ask("POST", changesPath, "ingest", payment("p1", 3, "RJCT", `,"bad":1`))
	back.refused(t, 422, "invalid_change")
	require.NoError(t, validID(back.body["quarantineId"]))
	require.Equal(t, []any{map[string]any{"pointer": "/data/bad", "code": "unknown_member", "detail": "not a member"}}, back.body["errors"])
	pt := w.ask("POST", changesPath, "ingest", payment("p1", 3, "RJCT", `,"bad":1`), "Accept-Language: pt-BR,pt;q=0.9,en;q=0.8")
	require.Contains(t, pt.text, "não é um membro")
	require.Equal(t, back.body["quarantineId"], pt.body["quarantineId"])
	require.Equal(t, 1, w.memory.stored())
}

func validID(v any) error {
	s, _ := v.(string)
	_, err := notice.ParseID(s)
	return err
}

func TestHostileBodiesAreRefusedAndNothingIsStored(t *testing.T) {
	w := newWorld(t)
	good := payment("p1", 1, "ACSC")
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"one byte too many":   {good + strings.Repeat(" ", 64<<10+1-len(good)), 413, "too_large"},
		"ten megabytes":       {strings.Repeat("9", 10<<20), 413, "too_large"},
		"nested deep":         {strings.Repeat("[", 10000) + strings.Repeat("]", 10000), 400, "invalid_request"},
		"nested deep in data": {payment("p1", 1, "ACSC", `,"x":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)), 400, "invalid_request"},
		"duplicate key":       {payment("p1", 1, "ACSC", `,"status":"RJCT"`), 400, "invalid_request"},
		"unknown member":      {strings.Replace(good, `"kind"`, `"colour":1,"kind"`, 1), 400, "invalid_request"},
		"not UTF-8":           {payment("p1", 1, "ACSC", ",\"x\":\"\xff\xfe\""), 400, "invalid_request"},
		"trailing bytes":      {good + "x", 400, "invalid_request"},
		"two objects":         {good + good, 400, "invalid_request"},
		"cut off":             {good[:len(good)-1], 400, "invalid_request"},
		"an array":            {"[" + good + "]", 400, "invalid_request"},
		"blank":               {" ", 400, "invalid_request"},
		"a huge number":       {payment("p1", 1, "ACSC", `,"x":1e999999`), 400, "invalid_request"},
	} {
		began := time.Now()
		got := w.ask("POST", changesPath, "ingest", c.body)
		require.Equal(t, c.status, got.status, name)
		got.refused(t, c.status, c.code)
		require.Less(t, time.Since(began), time.Second, name)
	}
	require.Zero(t, w.memory.stored())

	exact := good + strings.Repeat(" ", 64<<10-len(good))
	require.Equal(t, 200, w.ask("POST", changesPath, "ingest", exact).status, "64 KiB are taken")
}

func TestABodyWithoutLengthIsBoundedToo(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+changesPath, &endless{})
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer ingest")
	r.Header.Set("Content-Type", "application/json")
	got, err := w.client.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	require.Equal(t, 413, got.StatusCode)
}

// endless never stops sending.
type endless struct{}

func (*endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestOnlyJSONInPlainUTF8IsTaken(t *testing.T) {
	w := newWorld(t)
	for _, header := range []string{
		"Content-Type: text/plain", "Content-Type: application/json; charset=latin1", "Content-Type: ", "Content-Type: ;;",
		"Content-Encoding: gzip", "Content-Type: application/xml",
	} {
		w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC"), header).refused(t, 415, "unsupported_media_type")
	}
	w.ask("PUT", "/internal/v1/initiators/itp", "registrar", "{}", "Content-Type: application/x-ndjson").refused(t, 415, "unsupported_media_type")
	require.Zero(t, w.memory.stored())
}

func TestWhatCannotBeStoredIs503(t *testing.T) {
	w := newWorld(t)
	w.memory.fail = func(*notice.Change) error { return passing{fmt.Errorf("away")} }
	w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC")).refused(t, 503, "unavailable")
}

func TestTooManyWaitingChangesAre503(t *testing.T) {
	require.Equal(t, 503, faultOf(intake.ErrBusy).Status)
	w := newWorld(t, func(c *InternalConfig) { c.Changes = busy{} })
	w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC")).refused(t, 503, "unavailable")
}

type busy struct{ Changes }

func (busy) Accept(context.Context, []byte, intake.Origin) (intake.Answer, error) {
	return intake.Answer{}, intake.ErrBusy
}
