package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// twoInitiators is a report on one that is told and one that polls each two seconds.
func twoInitiators() figures.PollingReport {
	var p figures.Polling
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	add := func(client notice.ClientID, after time.Duration, what figures.PollingWhat, status ofb.Status) {
		p.Add(figures.PollingFact{At: began.Add(after), Client: client, Key: notice.Key{Kind: ofb.PixPayment, ID: string(client)}, What: what, Status: status})
	}
	add("=told", 0, figures.PollingChange, ofb.RCVD)
	add("=told", time.Minute, figures.PollingChange, ofb.ACSC)
	add("=told", time.Minute+time.Second, figures.PollingPush, "")
	add("=told", time.Minute+2*time.Second, figures.PollingQuery, ofb.ACSC)
	for i := range 25 {
		add("asks", time.Duration(i)*2*time.Second, figures.PollingQuery, ofb.RCVD)
	}
	return p.Report()
}

func TestTheReportOfPollingSaysWhatIsNotKnown(t *testing.T) {
	sums := twoInitiators()
	write := func(format, language string) string {
		var out bytes.Buffer
		require.NoError(t, pollingReport{format: format, language: language}.write(&sums, &out))
		return out.String()
	}
	require.Regexp(t, `(?m)^=told +1 +1 +1 +0 +1 +0 +0 +not known +not known +24$`, write("text", "en"), "60 s at 2 s are 30 queries; the others ask 25 times; it asked once")
	require.Contains(t, write("text", "en"), "initiators without push ask every 2.0 s")
	require.Contains(t, write("text", "pt"), "não conhecido")
	require.Contains(t, write("text", "pt"), "iniciadoras sem push consultam a cada 2,0 s")
	require.NotContains(t, write("text", "pt"), "2.0")
	require.Contains(t, write("csv", "pt"), "\nasks,1,0,25,25,0,0,0,2.0,,\n", "a table for machines has a decimal point in every language")
	table := write("csv", "en")
	require.Contains(t, table, "\n'=told,1,1,1,0,1,0,0,,,24\n", "no client id becomes a formula")
	require.Contains(t, table, "\nasks,1,0,25,25,0,0,0,2.0,,\n")
	var read figures.PollingReport
	require.NoError(t, json.Unmarshal([]byte(write("json", "en")), &read))
	require.Len(t, read.Clients, 2)
	require.Nil(t, read.Clients[0].Avoided)
	require.EqualValues(t, 24, *read.Clients[0].AvoidedAtOthers)
}

func TestTheMonthOfTheReportIsRead(t *testing.T) {
	for _, month := range []string{"", "2026", "2026-13", "November"} {
		got := call(t, time.Second, nil, "audit", "report", "--polling", "--month", month)
		require.Equal(t, usage, got.code)
		require.Contains(t, got.errors, "2026-11")
	}
	got := call(t, time.Second, nil, "audit", "report", "--polling", "--month", "2026-11", "--format", "jsonl")
	require.Equal(t, usage, got.code)
}
