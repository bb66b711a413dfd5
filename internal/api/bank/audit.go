package bank

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Audited is the history as auditors read it; *auditlog.SealedLog is one, but for Open, which package gateway adds. An error that
// knows TooWide() bool and answers true means that a search took too long.
type Audited interface {
	// Search lists at most limit entries of the history, newest first, after a position, and the one to continue after.
	Search(ctx context.Context, s history.Search, after history.Position, limit int) (audit.Page, error)
	// Checkpoint is the signed head of a size, 0 for the newest.
	Checkpoint(ctx context.Context, size int64) (audit.SignedHead, error)
	// CheckpointAt is the newest that was signed up to a time.
	CheckpointAt(ctx context.Context, at time.Time) (audit.SignedHead, error)
	// Consistency proves that the log of one size is the beginning of the log of another, and gives the log's public key.
	Consistency(ctx context.Context, old, size int64) (audit.Consistency, ed25519.PublicKey, error)
	// LogKey is the log's public key; nil when none is registered.
	LogKey(ctx context.Context) (ed25519.PublicKey, error)
	// Open opens the sealed log as of a size, 0 for the newest; done ends the reading.
	Open(ctx context.Context, size int64) (log evidence.SealedLog, done func(), err error)
}

// auditRoutes are all of the auditors' own (cases N1); each reading is recorded before it is answered.
func (in *Internal) auditRoutes() []api.Route {
	auditor := []string{roleAuditor}
	return []api.Route{
		route(http.MethodGet, "/internal/v1/audit/entries", auditor, in.traced(in.listEntries)),
		route(http.MethodGet, "/internal/v1/audit/entries/{seq}", auditor, in.traced(in.getEntry)),
		route(http.MethodGet, "/internal/v1/audit/entries/{seq}/proof", auditor, in.traced(in.getProof)),
		route(http.MethodGet, "/internal/v1/audit/dossier/{id}", auditor, in.traced(in.getDossier)),
		route(http.MethodGet, "/internal/v1/audit/checkpoints", auditor, in.traced(in.getCheckpoint)),
		route(http.MethodGet, "/internal/v1/audit/key", auditor, in.traced(plain(in.getLogKey))),
		route(http.MethodGet, "/internal/v1/audit/consistency", auditor, in.traced(in.getConsistency)),
		route(http.MethodGet, "/internal/v1/audit/calls", auditor, in.traced(in.getCalls)),
		route(http.MethodGet, "/internal/v1/audit/log/{file:.+}", auditor, in.traced(in.getTile)),

		route(http.MethodGet, "/internal/v1/audit/verifications", auditor, in.traced(plain(in.listVerifications))),
		route(http.MethodPost, "/internal/v1/audit/verifications", auditor, plain(in.postVerification)),
		route(http.MethodGet, "/internal/v1/audit/verifications/{id}", auditor, in.traced(plain(in.getVerification))),
		route(http.MethodPost, "/internal/v1/audit/judgements", auditor, plain(in.postJudgement)),

		route(http.MethodPost, "/internal/v1/audit/exports", auditor, in.postExport),
		route(http.MethodGet, "/internal/v1/audit/exports", auditor, in.traced(plain(in.listExports))),
		route(http.MethodGet, "/internal/v1/audit/exports/{id}", auditor, in.traced(plain(in.getExport))),
		route(http.MethodGet, "/internal/v1/audit/exports/{id}/file", auditor, in.traced(plain(in.getExportFile))),
		route(http.MethodDelete, "/internal/v1/audit/exports/{id}", auditor, in.deleteExport),

		route(http.MethodGet, "/internal/v1/audit/holds", auditor, in.traced(plain(in.listHolds))),
		route(http.MethodGet, "/internal/v1/audit/holds/{name}", auditor, in.traced(plain(in.getHold))),
		route(http.MethodPut, "/internal/v1/audit/holds/{name}", auditor, in.putHold),
		route(http.MethodDelete, "/internal/v1/audit/holds/{name}", auditor, in.deleteHold),
	}
}

type checkpointJSON struct {
	Log        string `json:"log"`
	Size       int64  `json:"size"`
	Root       string `json:"root"`
	At         string `json:"at"`
	SkewMicros int64  `json:"skewMicros"`
	Note       string `json:"note"` // as signed
}

// checkpointOf is null when nothing is sealed yet.
func checkpointOf(h audit.SignedHead) *checkpointJSON {
	if h.Checkpoint.Size == 0 {
		return nil
	}
	return &checkpointJSON{
		audit.Origin(h.Public), h.Checkpoint.Size, h.Checkpoint.Root.String(), h.Checkpoint.At.String(), h.Checkpoint.Skew.Microseconds(), string(h.Note),
	}
}

// entryJSON is one entry, every column of it; null is NULL.
type entryJSON struct {
	Seq            *int64         `json:"seq"` // position in the log; null while it is not sealed
	ID             string         `json:"id"`
	At             string         `json:"at"`
	XID            int64          `json:"xid"`
	Kind           string         `json:"kind"`
	ClientID       *string        `json:"clientId"`
	ResourceKind   *string        `json:"resourceKind"`
	ResourceID     *string        `json:"resourceId"`
	Revision       *int64         `json:"revision"`
	NotificationID *notice.ID     `json:"notificationId"`
	ChangeID       *notice.ID     `json:"changeId"`
	InteractionID  *notice.ID     `json:"interactionId"`
	Number         *int16         `json:"number"`
	Outcome        *string        `json:"outcome"`
	Closes         *string        `json:"closes"`
	CreatedAt      *string        `json:"createdAt"`
	Facts          jsontext.Value `json:"facts"`             // as stored; a string where that is not JSON as we write it
	Private        jsontext.Value `json:"private,omitzero"`  // as stored: what the bank alone may see; absent where there is none
	Integrity      string         `json:"integrity"`         // proven, verified, unsealed or tampered
	Tampered       *string        `json:"tampered,omitzero"` // why it is not what was sealed
	Record         *string        `json:"record,omitzero"`   // the bytes of the entry as it is stored, in the single reading alone
	Leaf           *string        `json:"leaf,omitzero"`     // the sealed one
}

func entryOf(e *audit.Entry, seq *int64) entryJSON {
	out := entryJSON{
		Seq: seq, ID: e.ID.String(), At: e.At.String(), XID: e.XID, Kind: e.Kind, ClientID: e.ClientID, ResourceID: e.ResourceID, Revision: e.Revision,
		NotificationID: e.NotificationID, ChangeID: e.ChangeID, InteractionID: e.InteractionID, Number: e.Number,
		Outcome: e.Outcome, Closes: e.Closes, Facts: jsontext.Value(e.Facts),
	}
	if k := e.ResourceKind; k != nil {
		name := ofb.Kind(*k).String()
		out.ResourceKind = &name
	}
	if e.CreatedAt != nil {
		at := e.CreatedAt.String()
		out.CreatedAt = &at
	}
	if e.Private != nil {
		out.Private = jsontext.Value(*e.Private)
	}
	if !out.Facts.IsValid() { // somebody else wrote it: it is shown all the same
		out.Facts, _ = jsontext.AppendQuote(nil, e.Facts) // its error says that something was replaced
	}
	return out
}

// compared says how the entry stands to the log, and counts it.
func (e *entryJSON) compared(p *audit.Placed, all *history.Integrity) {
	switch {
	case p.Tampered != "":
		id := p.ID
		e.Integrity, e.Tampered = "tampered", &p.Tampered
		all.Fail(history.FailedEntry{Seq: p.Seq, EntryID: &id, Reason: p.Tampered})
	case p.Proven:
		e.Integrity = "proven"
		all.Verified++
		all.Proven++
	case p.Verified:
		e.Integrity = "verified"
		all.Verified++
	default:
		e.Integrity = "unsealed"
		all.Unsealed++
	}
}

// met tells the log and the metrics of what a read met that is not what was sealed, and returns it as JSON has it.
func (in *Internal) met(x *api.Exchange, found history.Integrity) history.Integrity {
	found = found.Listed()
	if !found.Tampered() {
		return found
	}
	first := &found.Failed[0]
	x.Log.Error("tampered entries read", "route", x.Route, "entries", found.FailedCount, "entry_id", first.EntryID, "seq", first.Seq, "reason", first.Reason)
	if in.cfg.Tampered != nil {
		in.cfg.Tampered(x.Route, found)
	}
	return found
}

type entriesJSON struct {
	Entries    []entryJSON     `json:"entries"`
	NextCursor *string         `json:"nextCursor"`
	Checkpoint *checkpointJSON `json:"checkpoint"` // the newest; null: nothing is sealed yet, or it is damaged

	Integrity history.Integrity `json:"integrity"`
}

// listEntries searches the whole history, newest first (cases L4, L6).
func (in *Internal) listEntries(x *api.Exchange) error {
	s, p, err := in.entriesAsked(x.R.URL.RawQuery, x.Began)
	if err != nil {
		return err
	}
	limit, err := limitOf(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), in.cfg.SearchLimit)
	defer cancel()
	pages, err := in.pagesOf(ctx, p["cursor"], searchParts(s)...)
	if err != nil {
		return err
	}
	page, err := in.cfg.Audited.Search(ctx, s, pages.after, limit)
	if err != nil {
		return in.widest(ctx, x, err)
	}
	out := entriesJSON{Entries: make([]entryJSON, len(page.Entries)), Checkpoint: checkpointOf(page.Head)}
	out.Integrity = history.Integrity{Checkpoint: page.Size}
	for i := range page.Entries {
		e := &page.Entries[i]
		out.Entries[i] = entryOf(&e.Entry, e.Seq)
		out.Entries[i].compared(e, &out.Integrity)
	}
	for _, why := range page.Damage {
		out.Integrity.Fail(history.FailedEntry{Reason: why})
	}
	out.Integrity = in.met(x, out.Integrity)
	if page.Next != (audit.Mark{}) {
		out.NextCursor = pages.next(history.Position{At: page.Next.At.Time(), ID: page.Next.ID})
	}
	filter := s.Filter()
	filter["limit"] = strconv.Itoa(limit)
	if !pages.after.At.IsZero() {
		filter["after"] = audit.At(pages.after.At).String()
	}
	return in.show(x, history.LogReading{Act: "search", Filter: filter, Rows: int64(len(out.Entries))}, out)
}

// entriesAsked reads the query of a search; what is neither limit nor cursor selects.
func (in *Internal) entriesAsked(raw string, now time.Time) (s history.Search, rest map[string]string, err error) {
	joined, err := joinEntries(raw)
	if err != nil {
		return s, nil, err
	}
	p, err := parameters(joined, append(history.SearchNames(), history.BySearchActor, "limit", "cursor")...)
	if err != nil {
		return s, nil, err
	}
	filter := maps.Clone(p)
	for _, name := range []string{history.BySearchActor, "limit", "cursor"} {
		delete(filter, name)
	}
	if s, err = searchFrom(filter, in.cfg.Brands); err != nil {
		return s, nil, err
	}
	if err := actorOf(&s, p); err != nil {
		return s, nil, err
	}
	until := s.To
	if until.IsZero() {
		until = now
	}
	if !s.Narrow() && !s.From.IsZero() && until.Sub(s.From) > rangeMax {
		return s, nil, tooWideSearch()
	}
	return s, p, nil
}

// longestActor bounds the part of a subject that is searched for, in bytes.
const longestActor = 255

// actorOf reads whose readings and acts are wanted. The kinds of entries must be named, and be those that have an actor: a search of
// all entries by actor would read every change and attempt of the period.
func actorOf(s *history.Search, p map[string]string) error {
	actor, there := p[history.BySearchActor]
	if !there {
		return nil
	}
	if s.Actor = actor; len(actor) > longestActor || cutText(actor) != actor {
		return wrong(history.BySearchActor, "must be a part of the subject of a person or system, of at most 255 bytes of UTF-8",
			"deve ser parte do identificador de uma pessoa ou sistema, com no máximo 255 bytes de UTF-8")
	}
	kinds := history.ActorKinds()
	if len(s.Entries) == 0 || slices.ContainsFunc(s.Entries, func(k string) bool { return !slices.Contains(kinds, k) }) {
		all := strings.Join(kinds, ", ")
		return wrong(history.BySearchActor, "needs entry, with one or more of "+all, "exige entry, com um ou mais de "+all)
	}
	return nil
}

// joinEntries lets the kinds of entries be repeated: they are an array, written either way.
func joinEntries(raw string) (string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil || len(values["entry"]) < 2 {
		return raw, nil //nolint:nilerr // told by parameters
	}
	if slices.Contains(values["entry"], "") {
		return "", wrong("entry", "must have a value each time", "deve ter um valor em cada ocorrência")
	}
	values.Set("entry", strings.Join(values["entry"], ","))
	return values.Encode(), nil
}

// searchFrom turns what is wrong with a search into a 400.
func searchFrom(filter map[string]string, brands brand.List) (history.Search, error) {
	s, err := history.ParseSearch(filter)
	var invalid *history.InvalidSearch
	if errors.As(err, &invalid) {
		return s, wrong(strings.TrimPrefix(invalid.Pointer, "/"), invalid.Detail, invalid.DetailPT)
	}
	for name, key := range map[string]string{"clientId": string(s.Client), "id": s.ResourceID} {
		if of := brand.Of(key); err == nil && of != "" && !brands.Holds(of) {
			return s, wrong(name, "is not an id, nor the name of a brand, a space and an id", "não é um id, nem o nome de uma marca, um espaço e um id")
		}
	}
	return s, err
}

// searchParts is what a cursor is bound to.
func searchParts(s history.Search) []string {
	filter := s.Filter()
	parts := []string{"audit entries"}
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		parts = append(parts, name, filter[name])
	}
	return parts
}

func tooWideSearch() *api.APIError {
	return invalid("", "too_wide",
		"too much for one search: add an id, or limit the search to 31 days, or ask for an export (page Exports)",
		"demais para uma consulta: acrescente um id, ou limite a busca a 31 dias, ou peça uma exportação (página Exportações)")
}

// widest tells a search that took too long from a database that does not answer at all.
func (in *Internal) widest(ctx context.Context, x *api.Exchange, err error) error {
	if failure.TooWide(err) {
		return tooWideSearch()
	}
	if told := in.tooWide(ctx, x, err); told != err { //nolint:errorlint // whether it is the very same
		return tooWideSearch()
	}
	return err
}

// seqOf is the position in the path. What is none names nothing.
func seqOf(x *api.Exchange) (int64, error) {
	text := x.Segment("seq")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text != strconv.FormatInt(n, 10) {
		return 0, errNotFound
	}
	return n, nil
}

// sizedOf reads ?size=, the size of the checkpoint to read by, or ?witnessed=true, the newest that a witness cosigned; 0: the newest.
func sizedOf(x *api.Exchange, known ...string) (int64, map[string]string, error) {
	p, err := parameters(x.R.URL.RawQuery, append(known, "size", "witnessed")...)
	if err != nil {
		return 0, nil, err
	}
	text, there := p["size"]
	switch witnessed, asked := p["witnessed"]; {
	case asked && witnessed != "true":
		return 0, nil, wrong("witnessed", "must be true, or left out", "deve ser true, ou ficar de fora")
	case asked && there:
		return 0, nil, wrong("witnessed", "size and witnessed are both given; give one of them", "size e witnessed foram informados; informe só um deles")
	case asked:
		return audit.NewestCosigned, p, nil
	case !there:
		return 0, p, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || text != strconv.FormatInt(n, 10) {
		return 0, nil, wrong("size", "must be the number of entries of a checkpoint", "deve ser o número de registros de um checkpoint")
	}
	return n, p, nil
}

// logAt opens the log for one entry of it, whose position the path has.
func (in *Internal) logAt(x *api.Exchange) (log evidence.SealedLog, seq int64, done func(), err error) {
	if seq, err = seqOf(x); err != nil {
		return nil, 0, nil, err
	}
	size, _, err := sizedOf(x)
	if err != nil {
		return nil, 0, nil, err
	}
	log, done, err = in.cfg.Audited.Open(x.R.Context(), size)
	return log, seq, done, err
}

func (in *Internal) getEntry(x *api.Exchange) error {
	log, seq, done, err := in.logAt(x)
	if err != nil {
		return err
	}
	defer done()
	e, err := log.At(x.R.Context(), seq)
	if err != nil {
		return err
	}
	found, err := evidence.Compare(x.R.Context(), log, e)
	if err != nil {
		return err
	}
	out := entryOf(e.Entry, &e.Seq)
	record, leaf := string(e.Record(nil)), e.Leaf.String()
	out.Record, out.Leaf, out.Integrity = &record, &leaf, "proven"
	if found.Tampered() {
		out.Integrity, out.Tampered = "tampered", &found.Failed[0].Reason
	}
	return in.show(x, history.LogReading{Act: "entry", Filter: askedOf(x), Size: log.Head().Checkpoint.Size, Rows: 1}, struct {
		Entry      entryJSON         `json:"entry"`
		Checkpoint *checkpointJSON   `json:"checkpoint"`
		Integrity  history.Integrity `json:"integrity"`
	}{out, checkpointOf(log.Head()), in.met(x, found)})
}

func (in *Internal) getProof(x *api.Exchange) error {
	log, seq, done, err := in.logAt(x)
	if err != nil {
		return err
	}
	defer done()
	text, err := evidence.Prove(x.R.Context(), log, seq)
	if err != nil {
		return err
	}
	return in.hand(x, history.LogReading{Act: "proof", Filter: askedOf(x), Size: log.Head().Checkpoint.Size, Rows: 1}, "text/plain; charset=utf-8", text)
}

// documentPolicy lets a document for people load and run nothing.
const documentPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"

// document is what documents for people say of us.
func (in *Internal) document(lang string) evidence.PaperFrom {
	return evidence.PaperFrom{Lang: lang, Version: in.cfg.Version, Holder: in.cfg.Holder}
}

// languageOf is the language of a document: the one asked for, English if the caller prefers it, or Portuguese, as the
// commands.
func languageOf(x *api.Exchange, asked string) string {
	switch {
	case asked != "":
		return asked
	case wantsEnglish(x.R):
		return "en"
	}
	return "pt"
}

func (in *Internal) getDossier(x *api.Exchange) error {
	size, p, err := sizedOf(x, "format", "lang")
	if err != nil {
		return err
	}
	format, lang := cmp.Or(p["format"], "html"), languageOf(x, p["lang"])
	media := map[string]string{"html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8", "pdf": "application/pdf"}[format]
	if media == "" {
		return wrong("format", "must be html, text or pdf", "deve ser html, text ou pdf")
	}
	log, done, err := in.cfg.Audited.Open(x.R.Context(), size)
	if err != nil {
		return err
	}
	defer done()
	id := x.Segment("id")
	if _, err := notice.ParseID(id); err != nil && !slices.ContainsFunc(ofb.Kinds(), func(k ofb.Kind) bool { return notice.ValidResourceKey(in.cfg.Brands, k, id) }) {
		return errNotFound
	}
	var text []byte
	var entries int64
	if format == "pdf" {
		text, entries, err = evidence.DossierPDF(x.R.Context(), log, id, in.document(lang))
	} else {
		text, entries, err = evidence.Dossier(x.R.Context(), log, id, format, lang)
	}
	if failure.TooWide(err) {
		return invalid("", "too_wide",
			"too many entries for one document, status queries above all: run arauto audit dossier, or ask for an export with this id (page Exports)",
			"registros demais para um documento, consultas principalmente: rode arauto audit dossier, ou peça uma exportação com este id (página Exportações)")
	}
	if errors.Is(err, evidence.ErrDossier) {
		return wrong("lang", "must be pt or en", "deve ser pt ou en")
	}
	if err != nil {
		return err
	}
	x.W.Header().Set("Content-Security-Policy", documentPolicy)
	return in.hand(x, history.LogReading{Act: "dossier", Filter: askedOf(x), Size: log.Head().Checkpoint.Size, Rows: entries}, media, text)
}

// getCheckpoint shows the newest signed head, the one of ?size=, or the newest up to ?at=.
func (in *Internal) getCheckpoint(x *api.Exchange) error {
	size, p, err := sizedOf(x, "at")
	if err != nil {
		return err
	}
	at, err := instantOf(p, "at")
	if err != nil {
		return err
	}
	var head audit.SignedHead
	switch {
	case !at.IsZero() && size != 0:
		return wrong("at", "size and at are both given; give one of them", "size e at foram informados; informe só um deles")
	case !at.IsZero():
		head, err = in.cfg.Audited.CheckpointAt(x.R.Context(), at)
	default:
		head, err = in.cfg.Audited.Checkpoint(x.R.Context(), size)
	}
	if err != nil {
		return err
	}
	return in.show(x, history.LogReading{Act: "checkpoint", Filter: askedOf(x), Size: head.Checkpoint.Size, Rows: 1}, checkpointOf(head))
}

// getLogKey shows the log's public key. A verifier should obtain it through another channel as well.
func (in *Internal) getLogKey(x *api.Exchange) error {
	key, err := in.cfg.Audited.LogKey(x.R.Context())
	if err != nil {
		return err
	}
	if key == nil {
		if _, err := in.cfg.Audited.Checkpoint(x.R.Context(), 0); err != nil { // a signed log without a key is damage
			return err
		}
		return errNotFound
	}
	text, err := audit.MarshalPublic(key)
	if err != nil {
		return err
	}
	return in.show(x, history.LogReading{Act: "key", Rows: 1}, struct {
		Log       string `json:"log"`
		Algorithm string `json:"algorithm"`
		PEM       string `json:"pem"`
	}{audit.Origin(key), "Ed25519", string(text)})
}
