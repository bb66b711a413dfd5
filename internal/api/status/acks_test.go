package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/spool"
)

// acknowledged keeps what was said; ids it does not have are unknown.
type acknowledged struct {
	mu   sync.Mutex
	mine map[notice.ID]bool
	said []history.Acknowledgement
	who  history.Actor
}

func (a *acknowledged) Acknowledge(ctx context.Context, client notice.ClientID, said []history.Acknowledgement) (out []history.AckResult, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.who, _ = ctx.Value(history.ActorKey{}).(history.Actor)
	for _, one := range said {
		if !a.mine[one.Notification] || string(client) != clientAlfa {
			out = append(out, history.AckUnknown)
			continue
		}
		out = append(out, history.AckRecorded)
		a.said = append(a.said, one)
	}
	return out, nil
}

func TestInitiatorsSayWhatTheyProcessedOrRefused(t *testing.T) {
	a := &acknowledged{mine: map[notice.ID]bool{}}
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) { c.Extension = &status.Extension{Acknowledgements: a} }).both()
	const path = "/arauto/v1/events/acks"
	mine, refused, foreign := uuid.NewString(), uuid.NewString(), uuid.NewString()
	for _, id := range []string{mine, refused} {
		parsed, err := notice.ParseID(id)
		require.NoError(t, err)
		a.mine[parsed] = true
	}
	got := d.alfa.post(path, fmt.Sprintf(`{"acks":[%q,%q],"errors":[{"id":%q,"code":"unknown-payment","description":"Não achamos o pagamento"}]}`, mine, foreign, refused))
	var out struct {
		Results []struct{ ID, Result string }
	}
	require.NoError(t, json.Unmarshal(d.open(got).Data, &out))
	require.Equal(t, "[{"+mine+" recorded} {"+foreign+" unknown} {"+refused+" recorded}]", fmt.Sprint(out.Results), "each id is told by itself")
	require.Equal(t, []string{history.AckProcessed, history.AckRefused}, []string{a.said[0].Outcome, a.said[1].Outcome})
	require.Equal(t, "unknown-payment", a.said[1].Code)
	require.Equal(t, clientAlfa, a.who.Subject)
	require.Equal(t, "extension-acks", d.entries()[0].facts.Operation)

	many := make([]string, 101)
	for i := range many {
		many[i] = `"` + uuid.NewString() + `"`
	}
	for _, wrong := range []string{
		`{"acks":["x"]}`, `{"acks":[],"more":1}`, `{"acks":["` + mine + `","` + mine + `"]}`, `{"acks":[` + strings.Join(many, ",") + `]}`,
		`{"errors":[{"id":"` + mine + `"}]}`, `{"errors":[{"id":"` + mine + `","code":"two words"}]}`, `{"errors":[{"code":"x"}]}`,
		`{"errors":[{"id":"` + mine + `","code":"x","description":"a\u0000b"}]}`,
		`{"errors":[{"id":"` + mine + `","code":"x","description":"` + strings.Repeat("a", 257) + `"}]}`,
	} {
		d.requireRefused(d.alfa.post(path, wrong), http.StatusBadRequest, "PARAMETRO_INVALIDO")
	}
	for _, missing := range []string{``, `{}`, `{"acks":[]}`} {
		d.requireRefused(d.alfa.post(path, missing), http.StatusBadRequest, "PARAMETRO_NAO_INFORMADO")
	}
	require.Len(t, a.said, 2, "nothing of a refused call is kept")
}
