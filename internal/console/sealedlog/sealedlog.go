// Package sealedlog is the console's page of the sealed log: its size, checkpoint and anchors; verification now, with progress; the
// proof that nothing changed between two dates; and the judgement of a file of evidence.
package sealedlog

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/arauto/arauto/docs/verifier"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/ofb"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of these pages.
func Section() page.Section {
	return page.Section{
		Name: "sealedlog", Group: page.Compliance, Path: "/log", Roles: []string{page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/log", Handle: show},
			{Method: http.MethodPost, Path: "/log/verifications", Handle: verify},
			{Method: http.MethodGet, Path: "/log/verifications/{id}", Handle: progress},
			{Method: http.MethodGet, Path: "/log/consistency", Handle: consistency},
			{Method: http.MethodGet, Path: "/log/consistency/file", Handle: consistencyFile},
			{Method: http.MethodPost, Path: "/log/judgements", Handle: judge},
			{Method: http.MethodGet, Path: "/log/checkpoint", Handle: checkpointFile},
			{Method: http.MethodGet, Path: "/log/key", Handle: keyFile},
			{Method: http.MethodGet, Path: "/log/verifier", Handle: verifierFile},
		},
	}
}

type shownFault struct {
	Seq    int64
	Reason string
}

// verifiedPart is what the verifications of one scope have come to.
type verifiedPart struct {
	Verified      int64
	EndedAt, OKAt *time.Time
	Fault         *shownFault
	FaultAt       *time.Time
}

// verificationJob is one verification of the whole log.
type verificationJob struct {
	ID, State               string
	BeganAt                 time.Time
	EndedAt                 *time.Time
	Verified, Size, Removed int64
	Root                    *string
	Fault                   *shownFault
	EntryID                 *string
}

// Share is the part of the log that is verified, in percent.
func (v verificationJob) Share() int64 {
	if v.Size == 0 {
		return 0
	}
	return 100 * v.Verified / v.Size
}

// Kept is how many entries the log still has.
func (v verificationJob) Kept() int64 { return v.Size - v.Removed }

// logHealth is how far the log is verified and anchored.
type logHealth struct {
	Size         int64
	Since, Whole verifiedPart
	Running      *verificationJob
	Impossible   *string
	AnchoredAt   *time.Time
	Anchors      []struct {
		Name         string
		Size         *int64
		CheckpointAt *time.Time
		Problem      *string
		ProblemPT    *string
		ProblemAt    *time.Time
	}
	Witnesses []struct {
		Name      string
		Size      *int64
		VouchedAt *time.Time
		Problem   *string
		ProblemPT *string
		ProblemAt *time.Time
	}
	Witnessed struct {
		Demanded bool
		Size     *int64
		Until    *time.Time
	}
	NotSealing  *string
	SealsHere   bool
	LastSealing *time.Time
}

// witnessedLate is how long the quorum of witnesses may be silent before the page says so: as the alarm.
const witnessedLate = 30 * time.Minute

// WitnessTone is the state in which what the quorum vouched for is shown.
func (h logHealth) WitnessTone() string {
	switch {
	case h.Witnessed.Until == nil:
		return "warn"
	case h.Witnessed.Demanded && time.Since(*h.Witnessed.Until) > witnessedLate:
		return "bad"
	}
	return "ok"
}

// shownCheckpoint is a signed head of the log.
type shownCheckpoint struct {
	Log  string
	Size int64
	Root string
	At   time.Time
	Note string
}

// sealingLate is how old the newest checkpoint may be before the page says so: an idle log grows with every reading.
const sealingLate = 10 * time.Minute

type sealedView struct {
	Health     logHealth
	Checkpoint *shownCheckpoint
	SealTone   string // ok, or warn where the newest checkpoint is old
	From, To   string
}

func show(v *page.Visit) error {
	var view sealedView
	if err := v.API.Get("/internal/v1/audit/verifications", nil, &view.Health); err != nil {
		return err
	}
	if view.Health.Size > 0 {
		if err := v.API.Get("/internal/v1/audit/checkpoints", nil, &view.Checkpoint); err != nil {
			return err
		}
		if view.SealTone = "ok"; time.Since(view.Checkpoint.At) > sealingLate {
			view.SealTone = "warn"
		}
	}
	view.From = day(time.Now().AddDate(0, 0, -7))
	return v.Show("log", page.View{Title: v.Text("title"), Data: view})
}

// day is the value of a field of date and time.
func day(t time.Time) string { return t.In(ofb.Brasilia).Format("2006-01-02T15:04") }

func verify(v *page.Visit) error {
	var begun verificationJob
	if _, err := v.API.Do(http.MethodPost, "/internal/v1/audit/verifications", nil, &begun); err != nil {
		return err
	}
	return v.Redirect(page.Path("/log/verifications/%s", begun.ID))
}

func progress(v *page.Visit) error {
	var found verificationJob
	if err := v.API.Get(page.Path("/internal/v1/audit/verifications/%s", v.Param("id")), nil, &found); err != nil {
		return err
	}
	view := page.View{Title: v.Text("verification"), Data: found, Crumb: &page.Link{Path: "/log", Text: v.Text("title")}, Every: time.Hour}
	if found.State == "running" {
		view.Every = 2 * time.Second
	}
	return v.Show("verification", view)
}

// period is what a proof of consistency is asked for.
func period(v *page.Visit) url.Values {
	q := url.Values{}
	for _, name := range []string{"from", "to"} {
		if at := v.Query().Get(name); at != "" {
			q.Set(name, page.Instant(at))
		}
	}
	return q
}

type consistencyView struct {
	Old, New shownCheckpoint
	From, To string
	Hashes   int
	File     string
}

func consistency(v *page.Visit) error {
	asked := v.Query()
	var text string
	crumb := &page.Link{Path: "/log", Text: v.Text("title")}
	err := v.API.Get("/internal/v1/audit/consistency", period(v), &text)
	if page.Is(err, http.StatusNotFound) {
		data := consistencyView{From: asked.Get("from"), To: asked.Get("to")}
		return v.ShowAs(http.StatusNotFound, "too-early", page.View{Title: v.Text("consistency"), Data: data, Crumb: crumb})
	}
	if err != nil {
		return err
	}
	var key struct{ Log, PEM string }
	if err := v.API.Get("/internal/v1/audit/key", nil, &key); err != nil {
		return err
	}
	public, err := audit.ParsePublic([]byte(key.PEM))
	if err != nil {
		return fmt.Errorf("read the log's key: %w", err)
	}
	proof, err := audit.ParseConsistency([]byte(text))
	if err != nil {
		return fmt.Errorf("read the proof of consistency: %w", err)
	}
	older, newer, err := proof.Check(public)
	if err != nil {
		return err
	}
	of := func(c audit.Checkpoint) shownCheckpoint {
		return shownCheckpoint{Log: key.Log, Size: c.Size, Root: c.Root.String(), At: c.At.Time()}
	}
	view := consistencyView{Old: of(older), New: of(newer), From: asked.Get("from"), To: asked.Get("to"), Hashes: len(proof.Path), File: "/log/consistency/file?" + period(v).Encode()}
	return v.Show("consistency", page.View{Title: v.Text("consistency"), Data: view, Crumb: crumb})
}

func consistencyFile(v *page.Visit) error {
	return v.API.Hand(v.X.W, "/internal/v1/audit/consistency", period(v), "arauto-consistency.txt")
}

// fileVerdict is what the verifier says of a file.
type fileVerdict struct {
	SHA256              string
	Bytes               int64
	Kind, Verdict       string
	Line                *string
	Entries, Size       int64
	Root                *string
	Complete, InThisLog *bool
	Fault               *shownFault
	Notes               []string
	Conditions          []audit.CompletenessCondition
	Said                []page.Said         `json:"-"` // the notes that belong to no condition
	Shown               []page.ConditionRow `json:"-"` // the conditions, where one is not met
	Name                string              `json:"-"` // of the file, as the browser tells it
}

// Tone is the state that the verdict is shown in.
func (j fileVerdict) Tone() string {
	switch {
	case j.Verdict == "bad" || j.InThisLog != nil && !*j.InThisLog:
		return "bad"
	case j.Verdict == "ok":
		return "ok"
	}
	return "warn"
}

// Belongs is the word for whether the file is of this log; "": it cannot be told.
func (j fileVerdict) Belongs() string {
	switch {
	case j.InThisLog == nil:
		return ""
	case *j.InThisLog:
		return "yes"
	}
	return "no"
}

// judge hands the uploaded file on as it arrives; nothing of it is kept.
func judge(v *page.Visit) error {
	form, err := v.X.R.MultipartReader()
	if err != nil {
		return v.Redirect("/log#judge")
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return v.Redirect("/log#judge")
		}
		if err != nil {
			return err
		}
		if part.FormName() != "file" || part.FileName() == "" {
			continue
		}
		found := fileVerdict{Name: part.FileName()}
		if err := v.API.Send("/internal/v1/audit/judgements", "application/octet-stream", arrivingFile{part, http.NewResponseController(v.X.W)}, &found); err != nil {
			return err
		}
		v.X.Read = true
		if found.Complete != nil && *found.Complete {
			found.Conditions = nil
		}
		found.Shown, found.Said = v.Completeness(found.Conditions, found.Notes)
		return v.Show("judgement", page.View{Title: v.Text("judgement"), Data: found, Crumb: &page.Link{Path: "/log", Text: v.Text("title")}})
	}
}

// arrivingFile is a body whose deadline moves on with what arrives.
type arrivingFile struct {
	io.Reader
	connection *http.ResponseController
}

// Read implements io.Reader.
func (a arrivingFile) Read(p []byte) (int, error) {
	now := time.Now()
	_ = a.connection.SetReadDeadline(now.Add(30 * time.Second))
	_ = a.connection.SetWriteDeadline(now.Add(3 * time.Minute)) // the answer comes after the judgement
	return a.Reader.Read(p)
}

func checkpointFile(v *page.Visit) error {
	var c shownCheckpoint
	if err := v.API.Get("/internal/v1/audit/checkpoints", nil, &c); err != nil {
		return err
	}
	return v.File("text/plain; charset=utf-8", fmt.Sprintf("arauto-checkpoint-%d.txt", c.Size), []byte(c.Note))
}

func keyFile(v *page.Visit) error {
	var key struct{ PEM string }
	if err := v.API.Get("/internal/v1/audit/key", nil, &key); err != nil {
		return err
	}
	return v.File("application/x-pem-file", "log.pub.pem", []byte(key.PEM))
}

// verifierFile hands out the verifier for people who want to verify without us. It reads nothing of the log.
func verifierFile(v *page.Visit) error {
	return v.File("text/html; charset=utf-8", "arauto-verify.html", verifier.Page)
}
