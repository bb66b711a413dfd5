package main

import (
	"errors"
	"os"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
)

// verifyFile verifies a file of evidence, whatever it is.
func (t *believed) verifyFile(name string) (audit.VerifiedLog, error) {
	file, err := os.Open(name)
	if err != nil {
		return audit.VerifiedLog{}, wrongUse("FILE: %v", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return audit.VerifiedLog{}, err
	}
	verdict, err := evidence.VerifyFile(file, info.Size(), t.public, t.anchored, audit.WholeMost)
	if errors.Is(err, evidence.ErrFilteredRecords) || errors.Is(err, evidence.ErrReport) {
		return verdict, wrongUse("FILE: %v", err)
	}
	if errors.Is(err, evidence.ErrRecordsAlone) {
		return verdict, wrongUse("FILE: records alone prove nothing; name checkpoints with --anchors, or export a bundle")
	}
	if err != nil || t.policy == nil {
		return verdict, err
	}
	notes, err := evidence.SignedCheckpoints(file, info.Size(), audit.WholeMost)
	if err != nil {
		return verdict, err
	}
	return verdict, t.policy.Confirm(&verdict, append(notes, t.cosigned...), t.public)
}
