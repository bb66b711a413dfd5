package bank

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Verifications are what the verifications of the log have come to; package gateway joins them.
type Verifications interface {
	// LogHealth tells how far the log is verified and anchored.
	LogHealth(ctx context.Context) (history.LogHealth, error)
	// AskVerification begins a verification of the whole log, or joins the one under way. An error that knows NotFound() bool and
	// answers true means that nothing is sealed yet.
	AskVerification(ctx context.Context) (history.Verification, error)
	// Verification finds a verification of the whole log by the instant at which it began.
	Verification(ctx context.Context, began time.Time) (history.Verification, error)
}

type faultJSON struct {
	Seq    int64  `json:"seq"`
	Reason string `json:"reason"`
}

func faultJSONOf(f *history.LogFault) *faultJSON {
	if f == nil {
		return nil
	}
	return &faultJSON{f.Seq, f.Reason}
}

// verificationJSON is one verification of the whole log.
type verificationJSON struct {
	ID       string     `json:"id"`
	State    string     `json:"state"` // running, ok or bad
	BeganAt  instant    `json:"beganAt"`
	EndedAt  *instant   `json:"endedAt"`
	Verified int64      `json:"verified"` // entries so far
	Size     int64      `json:"size"`     // of the log that is verified
	Removed  int64      `json:"removed"`  // of the entries, removed after their retention time
	Root     *string    `json:"root"`
	Fault    *faultJSON `json:"fault"`
	EntryID  *notice.ID `json:"entryId"` // that records the result
}

// verificationIDOf names a verification: microseconds since 1970 at its beginning.
func verificationIDOf(began time.Time) string { return strconv.FormatInt(began.UnixMicro(), 10) }

func verificationOf(v *history.Verification) verificationJSON {
	out := verificationJSON{
		ID: verificationIDOf(v.BeganAt), State: "running", BeganAt: instant(v.BeganAt), EndedAt: instantOrNull(v.EndedAt), Verified: v.Verified, Size: v.Size,
		Removed: v.Removed, Root: orNull(v.Root), Fault: faultJSONOf(v.Fault), EntryID: orNull(v.Entry),
	}
	switch {
	case v.EndedAt.IsZero():
	case v.Fault != nil:
		out.State = "bad"
	default:
		out.State = "ok"
	}
	return out
}

// scopeJSON is what the verifications of one scope have come to.
type scopeJSON struct {
	Verified int64      `json:"verified"`
	EndedAt  *instant   `json:"endedAt"`
	OKAt     *instant   `json:"okAt"`
	Fault    *faultJSON `json:"fault"`
	FaultAt  *instant   `json:"faultAt"`
}

func scopeOf(s *history.VerifiedScope) scopeJSON {
	return scopeJSON{s.Verified, instantOrNull(s.EndedAt), instantOrNull(s.OKAt), faultJSONOf(s.Fault), instantOrNull(s.FaultAt)}
}

// witnessJSON is what one witness vouched for last, at the request of any replica. The problem is of this replica's last request.
type witnessJSON struct {
	Name      string   `json:"name"`
	Size      *int64   `json:"size"`
	VouchedAt *instant `json:"vouchedAt"`
	Problem   *string  `json:"problem"`
	ProblemPT *string  `json:"problemPt"` // null: it has no words of ours
	ProblemAt *instant `json:"problemAt"`
}

// witnessedJSON is the newest checkpoint that the quorum vouched for.
type witnessedJSON struct {
	Demanded bool     `json:"demanded"` // the policy demands that some witnesses vouch
	Size     *int64   `json:"size"`
	Until    *instant `json:"until"`
}

// anchorJSON is one place outside the database that keeps checkpoints, as this replica knows it.
type anchorJSON struct {
	Name         string   `json:"name"`         // file, url or object-store
	Size         *int64   `json:"size"`         // of the newest checkpoint that it took from this replica; null: none yet
	CheckpointAt *instant `json:"checkpointAt"` // when that was signed
	Problem      *string  `json:"problem"`      // of the last delivery; null: it took it
	ProblemPT    *string  `json:"problemPt"`    // null: it has no words of ours
	ProblemAt    *instant `json:"problemAt"`
}

// listVerifications shows how far the log is verified and anchored.
func (in *Internal) listVerifications(x *api.Exchange) error {
	h, err := in.cfg.Verifications.LogHealth(x.R.Context())
	if err != nil {
		return err
	}
	notSealing := h.NotSealing
	if wantsPortuguese(x.R) {
		notSealing = h.NotSealingPT
	}
	out := struct {
		Size        int64             `json:"size"`        // of the newest checkpoint
		Since       scopeJSON         `json:"since"`       // of what was sealed since the last verification
		Whole       scopeJSON         `json:"whole"`       // of the whole log
		Running     *verificationJSON `json:"running"`     // of the whole log
		Impossible  *string           `json:"impossible"`  // what the stored state claims and cannot be
		AnchoredAt  *instant          `json:"anchoredAt"`  // checkpoints up to then are in every anchor
		Anchors     []anchorJSON      `json:"anchors"`     // as this replica knows them
		Witnesses   []witnessJSON     `json:"witnesses"`   // of the policy
		Witnessed   witnessedJSON     `json:"witnessed"`   // what their quorum vouched for
		NotSealing  *string           `json:"notSealing"`  // why sealing is stopped at this replica
		SealsHere   bool              `json:"sealsHere"`   // this replica has the log's key
		LastSealing *instant          `json:"lastSealing"` // when the newest checkpoint was signed
	}{
		Size: h.Size, Since: scopeOf(&h.Since), Whole: scopeOf(&h.Whole), Impossible: orNull(h.Impossible), AnchoredAt: instantOrNull(h.AnchoredAt),
		Witnesses: []witnessJSON{}, Witnessed: witnessedJSON{h.Witnessing.Demanded, orNull(h.Witnessing.Size), instantOrNull(h.Witnessing.Until)},
		Anchors: []anchorJSON{}, NotSealing: orNull(notSealing), SealsHere: h.SealsHere, LastSealing: instantOrNull(h.CheckpointAt),
	}
	if h.Running != nil {
		running := verificationOf(h.Running)
		out.Running = &running
	}
	for _, a := range h.Anchors {
		out.Anchors = append(out.Anchors, anchorJSON{a.Name, orNull(a.Size), instantOrNull(a.CheckpointAt), orNull(a.Problem), orNull(a.ProblemPT), instantOrNull(a.ProblemAt)})
	}
	for _, w := range h.Witnessing.Witnesses {
		out.Witnesses = append(out.Witnesses, witnessJSON{w.Name, orNull(w.Size), instantOrNull(w.At), orNull(w.Problem), orNull(w.ProblemPT), instantOrNull(w.ProblemAt)})
	}
	return in.view(x, 1, out)
}

// postVerification begins a verification of the whole log, or joins the one under way. Any replica may do the work.
func (in *Internal) postVerification(x *api.Exchange) error {
	ctx, cancel := acting(x)
	defer cancel()
	if err := in.record(x, history.LogReading{Act: "verify", Filter: askedOf(x)}); err != nil {
		return err
	}
	v, err := in.cfg.Verifications.AskVerification(ctx)
	if err != nil {
		return err
	}
	x.W.Header().Set("Location", "/internal/v1/audit/verifications/"+verificationIDOf(v.BeganAt))
	return answer(x, http.StatusAccepted, verificationOf(&v))
}

// getVerification tells how far a verification is, or what it found.
func (in *Internal) getVerification(x *api.Exchange) error {
	text := x.Segment("id")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || text != strconv.FormatInt(n, 10) || n > x.Began.Add(time.Hour).UnixMicro() {
		return errNotFound
	}
	v, err := in.cfg.Verifications.Verification(x.R.Context(), time.UnixMicro(n).UTC())
	if err != nil {
		return err
	}
	return in.view(x, 1, verificationOf(&v))
}

// getConsistency proves that the log as of one checkpoint is the beginning of the log as of a later one. Both are named by an
// instant, and are the newest checkpoints signed up to it.
func (in *Internal) getConsistency(x *api.Exchange) error {
	p, err := parameters(x.R.URL.RawQuery, "from", "to")
	if err != nil {
		return err
	}
	var sizes [2]int64
	for n, name := range []string{"from", "to"} {
		at, err := instantOf(p, name)
		if err != nil {
			return err
		}
		if at.IsZero() && name == "from" {
			return wrong(name, "is missing; give the earlier instant", "não foi informado; informe o instante mais antigo")
		}
		if problem := history.Begun(at, x.Began); problem != nil && name == "from" {
			return wrong(name, problem.Detail, problem.DetailPT)
		}
		if at.IsZero() || at.After(x.Began) {
			at = x.Began
		}
		head, err := in.cfg.Audited.CheckpointAt(x.R.Context(), at)
		if err != nil {
			return err
		}
		sizes[n] = head.Checkpoint.Size
	}
	if sizes[0] > sizes[1] {
		return wrong("to", "must not be before from", "não pode ser anterior a from")
	}
	proof, key, err := in.cfg.Audited.Consistency(x.R.Context(), sizes[0], sizes[1])
	if err != nil {
		return err
	}
	if _, _, err := proof.Check(key); err != nil { // what does not hold is not handed over
		return err
	}
	return in.hand(x, history.LogReading{Act: "consistency", Filter: askedOf(x), Size: sizes[1], Rows: 1}, "text/plain; charset=utf-8", proof.Marshal())
}
