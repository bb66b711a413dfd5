package evidence

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/timing"
)

// reportOnPaper is a report as the product writes it.
func reportOnPaper(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, NewBreachWriter(&out, "pdf", PaperFrom{Lang: "pt", Version: "1"}).End(&timing.ClockReport{Total: &timing.TimingSummary{}}))
	return out.Bytes()
}

// TestAReportOnPaperIsNotJudged: it proves nothing, and was called altered; what is no report, or was damaged, stays bad.
func TestAReportOnPaperIsNotJudged(t *testing.T) {
	judge := func(pdf []byte) error {
		_, err := VerifyFile(bytes.NewReader(pdf), int64(len(pdf)), nil, nil, audit.WholeMost)
		return err
	}
	report := reportOnPaper(t)
	err := judge(report)
	require.ErrorIs(t, err, ErrReport)
	require.ErrorIs(t, err, ErrRecordsAlone, "a caller that asks only whether something is proven is told that it is not")
	require.NotErrorIs(t, ErrRecordsAlone, ErrReport)
	require.NotErrorIs(t, ErrFilteredRecords, ErrReport)

	says := []byte(`{"format":"arauto-report/1"}`)
	paper := func(files map[string][]byte) []byte {
		s := newSheets("t", "f", PaperFrom{Lang: "en"}, time.Unix(0, 0))
		for name, content := range files {
			s.attach(name, "about", content)
		}
		pdf, err := s.finish()
		require.NoError(t, err)
		return pdf
	}
	require.ErrorIs(t, judge(paper(map[string][]byte{attachedReport: says})), ErrReport)
	for name, pdf := range map[string][]byte{
		"a dossier without its bundle":        paper(map[string][]byte{attachedDossier: says, attachedCheckpoint: nil, attachedKey: nil}),
		"a dossier that calls itself so":      paper(map[string][]byte{attachedReport: says, attachedDossier: nil}),
		"a report with a checkpoint":          paper(map[string][]byte{attachedReport: says, attachedCheckpoint: nil}),
		"a report with a key":                 paper(map[string][]byte{attachedReport: says, attachedKey: nil}),
		"a report with a bundle":              paper(map[string][]byte{attachedReport: says, attachedBundle: []byte("PK")}),
		"a report of another format":          paper(map[string][]byte{attachedReport: []byte(`{"format":"arauto-dossier/1"}`)}),
		"nothing attached":                    paper(nil),
		"a report whose sums name other ones": bytes.Replace(report, []byte("\x00r\x00e\x00p\x00o\x00r\x00t\x00."), []byte("\x00r\x00e\x00p\x00o\x00r\x00d\x00."), 1),
		"a report that somebody saved again":  append(bytes.Clone(report), report...),
	} {
		require.NotEqual(t, report, pdf, name)
		var fault *audit.Fault
		require.ErrorAs(t, judge(pdf), &fault, name)
		require.NotContains(t, fault.Reason, "is a report", name)
	}
}
