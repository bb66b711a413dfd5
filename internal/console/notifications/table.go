package notifications

import (
	"bytes"
	"strconv"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/evidence"
)

// Bounds of a file: the newest rows, read in parts as large as the API gives.
const (
	mostRows = 5000
	partRows = 1000
)

// table hands what the filters list over as CSV, newest first, at most mostRows. The name of a file that is cut says so.
func table(v *page.Visit) error {
	var text bytes.Buffer
	rows := evidence.NewTable(&text, "id", "created_at", "client_id", "kind", "resource_id", "status", "state", "late", "resend", "tampered", "attempts",
		"first_attempt_at", "last_outcome", "last_http_status")
	name, call := "arauto-notifications.csv", askedOf(v.Query()).call()
	for count, cursor := 0, ""; ; {
		part, next, err := read(v, call, strconv.Itoa(partRows), cursor)
		if err != nil {
			return err
		}
		for i := range part {
			if err := rows.Row(part[i].cells()); err != nil {
				return err
			}
		}
		if count += len(part); next == "" {
			break
		}
		if cursor = next; count >= mostRows {
			name = "arauto-notifications-newest-" + strconv.Itoa(count) + ".csv"
			break
		}
	}
	if err := rows.Flush(); err != nil {
		return err
	}
	return v.File("text/csv; charset=utf-8", name, text.Bytes())
}

// cells are a notification as a row of the file.
func (n listedNotification) cells() []string {
	const micros = "2006-01-02T15:04:05.000000Z"
	late, first, outcome, status := "", "", "", ""
	if n.Judged() {
		late = strconv.FormatBool(n.Late)
	}
	if len(n.Attempts) > 0 {
		first = n.Attempts[0].StartedAt.UTC().Format(micros)
		last := n.Attempts[len(n.Attempts)-1]
		if last.Outcome != nil {
			outcome = *last.Outcome
		}
		if last.HTTPStatus != nil {
			status = strconv.Itoa(*last.HTTPStatus)
		}
	}
	return []string{
		n.ID, n.CreatedAt.UTC().Format(micros), n.ClientID, n.Kind, n.ResourceID, n.Status, n.State, late, strconv.FormatBool(n.Manual),
		strconv.FormatBool(n.Tampered), strconv.Itoa(len(n.Attempts)), first, outcome, status,
	}
}
