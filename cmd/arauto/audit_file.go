package main

import (
	"crypto/ed25519"
	"errors"
	"os"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
)

// verifyFile verifies a file of evidence, whatever it is.
func verifyFile(name string, public ed25519.PublicKey, anchored []audit.Checkpoint) (audit.VerifiedLog, error) {
	file, err := os.Open(name)
	if err != nil {
		return audit.VerifiedLog{}, wrongUse("FILE: %v", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return audit.VerifiedLog{}, err
	}
	verdict, err := evidence.VerifyFile(file, info.Size(), public, anchored, audit.WholeMost)
	if errors.Is(err, evidence.ErrRecordsAlone) {
		return verdict, wrongUse("FILE: records alone prove nothing; name checkpoints with --anchors, or export a bundle")
	}
	return verdict, err
}
