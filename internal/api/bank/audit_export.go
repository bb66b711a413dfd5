package bank

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// Exports keeps what is exported in the background; *auditlog.Log does. An error that knows Conflict() bool and answers true
// means that there are too many.
type Exports interface {
	RequestExport(ctx context.Context, e history.Export) (history.Export, error)
	Exports(ctx context.Context) ([]history.Export, error)
	Export(ctx context.Context, id notice.ID) (history.Export, error)
	// ExportPiece reads the piece with a number, from 0, of a finished file; nil after the last.
	ExportPiece(ctx context.Context, id notice.ID, n int) ([]byte, error)
	DeleteExport(ctx context.Context, id notice.ID) error
}

type exportJSON struct {
	ID          notice.ID         `json:"id"`
	State       string            `json:"state"`
	Filter      map[string]string `json:"filter"`
	Format      string            `json:"format"`
	Size        int64             `json:"size"`
	RequestedBy string            `json:"requestedBy"`
	RequestedAt instant           `json:"requestedAt"`
	Walked      int64             `json:"walked"` // entries of the log that were looked at, of size
	Entries     *int64            `json:"entries"`
	Bytes       int64             `json:"bytes"`
	SHA256      *string           `json:"sha256"`
	Problem     *string           `json:"problem"`
	Complete    *bool             `json:"complete"` // of a bundle of a client's period that is done: nothing can be missing; null: not asked
	Notes       []string          `json:"notes"`    // of the verification that told so

	Conditions []audit.CompletenessCondition `json:"conditions"` // of completeness; null: not asked

	EndedAt   *instant `json:"endedAt"`
	ExpiresAt *instant `json:"expiresAt"`
}

func exportOf(e *history.Export, portuguese bool) exportJSON {
	out := exportJSON{
		ID: e.ID, State: e.State, Filter: e.Search.Filter(), Format: e.Format, Size: e.Size, RequestedBy: e.Caller.Subject,
		RequestedAt: instant(e.RequestedAt), Walked: e.Walked, Bytes: e.Bytes, SHA256: orNull(e.SHA256), Problem: orNull(e.ProblemIn(portuguese)),
		Complete: e.Complete, Notes: append([]string{}, e.Notes...),
		EndedAt: instantOrNull(e.EndedAt), ExpiresAt: instantOrNull(e.ExpiresAt),
	}
	if e.Complete != nil {
		out.Conditions = audit.CompletenessConditions(*e.Complete, e.Notes)
	}
	if e.State == history.ExportDone {
		out.Entries = &e.Entries
	}
	return out
}

type exportRequest struct {
	Filter map[string]string `json:"filter"`
	Format string            `json:"format"`
	Size   *int64            `json:"size"` // of a checkpoint; left out: the newest
}

// postExport asks for an export of everything a search finds, of whatever size.
func (in *Internal) postExport(x *api.Exchange) error {
	body, err := decode[exportRequest](x)
	if err != nil {
		return err
	}
	body.Format = cmp.Or(body.Format, evidence.Formats()[0].Name)
	if _, known := evidence.FormatNamed(body.Format); !known {
		var names []string
		for _, f := range evidence.Formats() {
			names = append(names, f.Name)
		}
		return wrong("format", "must be one of "+strings.Join(names, ", "), "deve ser um de "+strings.Join(names, ", "))
	}
	var size int64
	if body.Size != nil {
		if size = *body.Size; size < 1 {
			return wrong("size", "must be the number of entries of a checkpoint, at least 1", "deve ser o número de registros de um checkpoint, no mínimo 1")
		}
	}
	s, err := searchFrom(body.Filter, in.cfg.Brands)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	p, err := in.lookedAt(ctx, timing.Period{From: s.From, To: s.To})
	if err != nil {
		return err
	}
	if !s.To.IsZero() {
		s.To = p.To
	}
	e, err := in.cfg.Exports.RequestExport(ctx, history.Export{Search: s, Format: body.Format, Size: size})
	if err != nil {
		return err
	}
	x.W.Header().Set("Location", "/internal/v1/audit/exports/"+e.ID.String())
	return answer(x, http.StatusAccepted, exportOf(&e, wantsPortuguese(x.R)))
}

func (in *Internal) listExports(x *api.Exchange) error {
	list, err := in.cfg.Exports.Exports(x.R.Context())
	if err != nil {
		return err
	}
	return in.view(x, len(list), struct {
		Exports []exportJSON `json:"exports"`
	}{listed(list, func(e *history.Export) exportJSON { return exportOf(e, wantsPortuguese(x.R)) })})
}

// export reads the export that the path names.
func (in *Internal) export(x *api.Exchange) (history.Export, error) {
	id, err := idOf(x)
	if err != nil {
		return history.Export{}, err
	}
	return in.cfg.Exports.Export(x.R.Context(), id)
}

// getExport tells how far an export is. A client that waits asks often, so equal questions are counted, not recorded each.
func (in *Internal) getExport(x *api.Exchange) error {
	e, err := in.export(x)
	if err != nil {
		return err
	}
	return in.view(x, 1, exportOf(&e, wantsPortuguese(x.R)))
}

// pieceWithin is how long one piece of a file may take to be sent.
const pieceWithin = 30 * time.Second

// getExportFile hands over the file, piece by piece, after it is recorded who gets it.
func (in *Internal) getExportFile(x *api.Exchange) error {
	e, err := in.export(x)
	if err != nil {
		return err
	}
	switch {
	case e.State == history.ExportFailed:
		return conflict("the export has no file: it is failed; "+e.Problem, "a exportação não tem arquivo: ela falhou; "+e.ProblemIn(true))
	case e.State != history.ExportDone:
		return conflict("the export has no file: it is "+e.State, "a exportação ainda não tem arquivo")
	}
	format, known := evidence.FormatNamed(e.Format)
	if !known {
		return conflict("this version does not know the file's format; ask for a new export", "esta versão não conhece o formato do arquivo; peça uma nova exportação")
	}
	first, err := in.cfg.Exports.ExportPiece(x.R.Context(), e.ID, 0)
	if err != nil {
		return err
	}
	if err := in.record(x, history.LogReading{Act: "export-file", Filter: askedOf(x), Size: e.Size, Rows: e.Entries, SHA256: e.SHA256}); err != nil {
		return err
	}
	h := x.W.Header()
	h.Set("Content-Type", format.Type)
	h.Set("Content-Length", strconv.FormatInt(e.Bytes, 10))
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="arauto-%s%s"`, e.ID, format.Suffix))
	x.W.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(x.W)
	for n, piece := 1, first; len(piece) > 0; n++ {
		if err := rc.SetWriteDeadline(time.Now().Add(pieceWithin)); err != nil {
			return err
		}
		if _, err := x.W.Write(piece); err != nil {
			return nil //nolint:nilerr // a reader who is gone is no concern of ours
		}
		if piece, err = in.cfg.Exports.ExportPiece(x.R.Context(), e.ID, n); err != nil {
			return err // the connection ends, so that half a file does not look like a whole one
		}
	}
	return nil
}

func (in *Internal) deleteExport(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	if err := in.cfg.Exports.DeleteExport(ctx, id); err != nil {
		return err
	}
	x.W.WriteHeader(http.StatusNoContent)
	return nil
}
