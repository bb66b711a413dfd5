package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"

	"github.com/arauto/arauto/internal/audit"
)

// What a file of evidence can be, by how it begins.
const (
	FileBundle      = "bundle"      // a zip of entries with their proof
	FilePaper       = "paper"       // a dossier as PDF, with a bundle attached
	FileReport      = "report"      // a report on a period as PDF, which has no proof: ErrReport tells it from a dossier
	FileProof       = "proof"       // that entries are in the log
	FileConsistency = "consistency" // that one log is the beginning of another
	FileRecords     = "records"     // entries as JSON lines, without a proof of their own
)

// ErrRecordsAlone means that a file has records and there is no checkpoint to compare them with.
var ErrRecordsAlone = errors.New("records alone prove nothing; name checkpoints that were kept outside of the database, or export a bundle")

// ErrFilteredRecords means that a file has the records that a filter chose, and no proof of them; it is an ErrRecordsAlone, too.
var ErrFilteredRecords error = filteredRecords{}

// ErrReport means that a PDF is a report on a period, which has no entries and no proof; it is an ErrRecordsAlone, too.
var ErrReport error = aReport{}

type aReport struct{}

// Error says why nothing is judged, and what to export.
func (aReport) Error() string {
	return "not judged: this PDF is a report, which proves nothing; export its period as a bundle"
}

// Is makes it a kind of ErrRecordsAlone.
func (aReport) Is(target error) bool { return target == ErrRecordsAlone }

type filteredRecords struct{}

// Error says why nothing is proven, and what to export.
func (filteredRecords) Error() string {
	return "a filtered export as JSON lines cannot be proven: it has no proof of where its entries stand in the log; export a bundle with the same filter, or JSON lines without a filter"
}

// Is makes it a kind of ErrRecordsAlone.
func (filteredRecords) Is(target error) bool { return target == ErrRecordsAlone }

// Bounds of the files that are read whole.
const (
	maxPaper       = 256 << 20
	maxProof       = 32 << 20
	maxConsistency = 1 << 20
)

// FileKind says what a file is by its first bytes; 32 suffice. It takes a report for a FilePaper.
func FileKind(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte("PK")):
		return FileBundle
	case bytes.HasPrefix(start, []byte("%PDF-")):
		return FilePaper
	case audit.IsProof(start):
		return FileProof
	case audit.IsConsistency(start):
		return FileConsistency
	}
	return FileRecords
}

// VerifyFile verifies a file of evidence of any kind. public is the log's key; anchored are checkpoints that were kept outside of
// the database, which records need (ErrRecordsAlone, and of a filtered export always ErrFilteredRecords, of a report ErrReport); a proof that contradicts one of them is wrong. A wrong file is an *audit.Fault. Others make such files too, so of a
// part that must be in memory at most so many bytes are kept; audit.ErrTooLong when that does not suffice.
func VerifyFile(file io.ReaderAt, size int64, public ed25519.PublicKey, anchored []audit.Checkpoint, most int64) (audit.VerifiedLog, error) {
	whole := io.NewSectionReader(file, 0, size)
	start := make([]byte, min(size, 32))
	if _, err := io.ReadFull(whole, start); err != nil {
		return audit.VerifiedLog{}, err
	}
	if _, err := whole.Seek(0, io.SeekStart); err != nil {
		return audit.VerifiedLog{}, err
	}
	switch FileKind(start) {
	case FileBundle:
		return audit.VerifyBundleWithin(file, size, public, anchored, most)
	case FilePaper:
		text, err := wholeOf(whole, min(maxPaper, most))
		if err != nil {
			return audit.VerifiedLog{}, err
		}
		return verifyPDF(text, public, anchored, most)
	case FileProof:
		text, err := wholeOf(whole, min(maxProof, most))
		if err != nil {
			return audit.VerifiedLog{}, err
		}
		verdict, err := audit.VerifyProof(text, public)
		if err == nil {
			err = audit.Contradiction(append([]audit.Checkpoint{{Size: verdict.Size, Root: verdict.Root, At: verdict.SignedAt}}, anchored...)...)
		}
		return verdict, err
	case FileConsistency:
		text, err := io.ReadAll(io.LimitReader(whole, maxConsistency))
		if err != nil {
			return audit.VerifiedLog{}, err
		}
		return audit.VerifyConsistency(text, public, anchored...)
	}
	switch {
	case audit.FilteredRecords(io.NewSectionReader(file, 0, size)):
		return audit.VerifiedLog{}, ErrFilteredRecords
	case len(anchored) == 0:
		return audit.VerifiedLog{}, ErrRecordsAlone
	}
	return audit.VerifyRecords(whole, public, anchored)
}

// wholeOf reads a file of at most so many bytes into memory; audit.ErrTooLong when it is longer.
func wholeOf(file *io.SectionReader, most int64) ([]byte, error) {
	if file.Size() > most {
		return nil, audit.ErrTooLong
	}
	return io.ReadAll(file)
}

// SignedCheckpoints reads the signed checkpoints inside a file that VerifyFile found to be right, with all their signatures. Of a
// file of records alone it returns none.
func SignedCheckpoints(file io.ReaderAt, size, most int64) ([][]byte, error) {
	whole := io.NewSectionReader(file, 0, size)
	start := make([]byte, min(size, 32))
	if _, err := whole.ReadAt(start, 0); err != nil {
		return nil, err
	}
	kind := FileKind(start)
	switch kind {
	case FileBundle:
		return audit.BundleCheckpoints(file, size, most)
	case FileRecords:
		return nil, nil
	}
	text, err := wholeOf(whole, min(maxPaper, most))
	if err != nil {
		return nil, err
	}
	switch kind {
	case FileProof:
		p, err := audit.ParseProof(text)
		return [][]byte{p.Checkpoint}, err
	case FileConsistency:
		p, err := audit.ParseConsistency(text)
		return [][]byte{p.Old, p.New}, err
	}
	files, err := attachmentsWithin(text, most)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.name == attachedBundle {
			return audit.BundleCheckpoints(bytes.NewReader(f.content), int64(len(f.content)), most)
		}
	}
	return nil, nil
}
