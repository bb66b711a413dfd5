package bank

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
)

// Bounds of a file that is judged.
const (
	maxJudged     = 256 << 20
	judgedMemory  = 32 << 20 // bytes of a part that must be in memory: of a PDF and its attachments, and of a bundle's checkpoints
	judgeWithin   = time.Minute
	maxJudgements = 2 // at once
)

// judgementJSON is what the verifier says of a file.
type judgementJSON struct {
	SHA256    string     `json:"sha256"`
	Bytes     int64      `json:"bytes"`
	Kind      string     `json:"kind"`      // bundle, paper, report, proof, consistency or records
	Verdict   string     `json:"verdict"`   // ok, genuine, bad or unproven
	Line      *string    `json:"line"`      // what arauto audit verify prints; null when unproven
	Entries   int64      `json:"entries"`   // that were verified
	Size      int64      `json:"size"`      // of the log that the file is of
	Root      *string    `json:"root"`      // of that log
	Complete  *bool      `json:"complete"`  // of a filtered bundle: nothing can be missing
	InThisLog *bool      `json:"inThisLog"` // our log had this root at this size; null: it has no checkpoint of this size
	Fault     *faultJSON `json:"fault"`
	Notes     []string   `json:"notes"`

	Conditions []audit.CompletenessCondition `json:"conditions"` // of the completeness of a filtered bundle; null: it is none
}

// postJudgement verifies a file of evidence with the log's own key. The body is the file; it is kept only while it is judged.
func (in *Internal) postJudgement(x *api.Exchange) error {
	select {
	case in.judgements <- struct{}{}:
		defer func() { <-in.judgements }()
	default:
		return &api.APIError{
			Status: http.StatusServiceUnavailable, Code: "unavailable",
			Text:   "too many files are judged; at most " + strconv.Itoa(maxJudgements) + " at once, retry in a minute",
			TextPT: "arquivos demais em avaliação; no máximo " + strconv.Itoa(maxJudgements) + " ao mesmo tempo, repita em um minuto",
		}
	}
	file, err := os.CreateTemp(in.cfg.TempDir, ".arauto-judge-*")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil { // it lives as long as it is open
		return err
	}
	out := judgementJSON{Notes: []string{}}
	if out.Bytes, out.SHA256, err = receiveFile(x, file); err != nil {
		return err
	}
	key, err := in.cfg.Audited.LogKey(x.R.Context())
	if err != nil {
		return err
	}
	if key == nil {
		return conflict("no key is registered for this log, so nothing can be verified against it", "nenhuma chave está registrada para este log, e nada pode ser conferido com ela")
	}
	start := make([]byte, min(out.Bytes, 32))
	if _, err := file.ReadAt(start, 0); err != nil {
		return err
	}
	out.Kind = evidence.FileKind(start)
	ctx, cancel := context.WithTimeout(x.R.Context(), judgeWithin)
	defer cancel()
	found, err := evidence.VerifyFile(boundedFile{ctx, file}, out.Bytes, key, nil, judgedMemory)
	if ctx.Err() != nil {
		return invalid("", "too_large", "the file takes more than a minute to verify; run arauto audit verify", "o arquivo leva mais de um minuto para verificar; execute arauto audit verify")
	}
	if errors.Is(err, audit.ErrTooLong) {
		return errFileTooLong
	}
	if err == nil {
		err = found.AsOf(x.Began)
	}
	if err := out.judge(found, err); err != nil {
		return err
	}
	if err := in.inThisLog(x, &out, found); err != nil {
		return err
	}
	filter := map[string]string{"sha256": out.SHA256, "bytes": strconv.FormatInt(out.Bytes, 10), "kind": out.Kind, "verdict": out.Verdict}
	return in.show(x, history.LogReading{Act: "judge", Filter: filter, Size: out.Size, Rows: out.Entries}, out)
}

// judge takes the verdict. An error that is none is returned.
func (j *judgementJSON) judge(found audit.VerifiedLog, err error) error {
	fault, bad := errors.AsType[*audit.Fault](err)
	switch {
	case errors.Is(err, evidence.ErrReport):
		j.Kind, j.Verdict, j.Notes = evidence.FileReport, "unproven", append(j.Notes, err.Error())
		return nil
	case errors.Is(err, evidence.ErrRecordsAlone):
		j.Verdict, j.Notes = "unproven", append(j.Notes, "records alone prove nothing; export a bundle")
		return nil
	case bad:
		line := fault.Error()
		j.Verdict, j.Line, j.Fault = "bad", &line, &faultJSON{fault.Seq, fault.Reason}
		return nil
	case err != nil:
		return err
	}
	line, root := found.String(), found.Root.String()
	j.Verdict, j.Line, j.Root, j.Entries, j.Size = "ok", &line, &root, found.Entries, found.Size
	if found.Filtered {
		j.Complete, j.Conditions = &found.Complete, audit.CompletenessConditions(found.Complete, found.Notes)
		if !found.Complete {
			j.Verdict = "genuine"
		}
	}
	j.Notes = append(j.Notes, found.Notes...)
	if found.Removed > 0 {
		j.Notes = append(j.Notes, audit.RemovedNote(found.Removed))
	}
	return nil
}

// inThisLog compares the root that a genuine file leads to with our own checkpoint of that size.
func (in *Internal) inThisLog(x *api.Exchange, out *judgementJSON, found audit.VerifiedLog) error {
	if out.Root == nil {
		return nil
	}
	head, err := in.cfg.Audited.Checkpoint(x.R.Context(), found.Size)
	switch {
	case failure.NotFound(err):
		return nil
	case err != nil:
		return err
	}
	same := head.Checkpoint.Root == found.Root
	out.InThisLog = &same
	return nil
}

// receiveFile writes the body to a file, at most maxJudged bytes, and returns its length and SHA-256. Its deadline moves on with
// what arrives.
func receiveFile(x *api.Exchange, file *os.File) (n int64, sum string, err error) {
	if x.R.ContentLength > maxJudged {
		return 0, "", errFileTooLarge
	}
	rc := http.NewResponseController(x.W)
	body := http.MaxBytesReader(x.W, x.R.Body, maxJudged)
	hash := sha256.New()
	to := io.MultiWriter(file, hash)
	for {
		now := time.Now()
		_ = rc.SetReadDeadline(now.Add(pieceWithin))                  // a caller in this process has none
		_ = rc.SetWriteDeadline(now.Add(pieceWithin + 2*judgeWithin)) // the answer comes after the judgement
		part, err := io.CopyN(to, body, 1<<20)
		n += part
		if errors.Is(err, io.EOF) {
			break
		}
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return 0, "", errFileTooLarge
		}
		if err != nil {
			return 0, "", invalid("", "incomplete", "the file did not arrive in full", "o arquivo não chegou completo")
		}
	}
	x.Read = true
	if n == 0 {
		return 0, "", invalid("", "empty", "the body is empty; send a bundle, a proof or a proof of consistency", "o corpo está vazio; envie um pacote, uma prova ou uma prova de consistência")
	}
	return n, hex.EncodeToString(hash.Sum(nil)), nil
}

var errFileTooLarge = &api.APIError{
	Status: http.StatusRequestEntityTooLarge, Code: "too_large",
	Text:   "the file is too large; send at most 256 MiB, or run arauto audit verify",
	TextPT: "o arquivo é grande demais; envie no máximo 256 MiB, ou rode arauto audit verify",
}

var errFileTooLong = &api.APIError{
	Status: http.StatusRequestEntityTooLarge, Code: "too_large",
	Text:   "verifying the file needs too much memory; run arauto audit verify",
	TextPT: "conferir o arquivo exige memória demais; rode arauto audit verify",
}

// boundedFile is a file whose reads fail when a context has ended: a small file can unfold to a very large one.
type boundedFile struct {
	ctx  context.Context //nolint:containedctx // io.ReaderAt has none
	file io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (b boundedFile) ReadAt(p []byte, at int64) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.file.ReadAt(p, at)
}
