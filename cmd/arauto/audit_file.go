package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"io"
	"os"

	"github.com/arauto/arauto/internal/audit"
)

// verifyFile tells what a file is by how it begins, and verifies it.
func verifyFile(name string, public ed25519.PublicKey, anchored []audit.Checkpoint) (audit.VerifiedLog, error) {
	file, err := os.Open(name)
	if err != nil {
		return audit.VerifiedLog{}, wrongUse("FILE: %v", err)
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	start, _ := reader.Peek(32) // a shorter file has a shorter beginning
	switch {
	case bytes.HasPrefix(start, []byte("PK")):
		info, err := file.Stat()
		if err != nil {
			return audit.VerifiedLog{}, err
		}
		return audit.VerifyBundle(file, info.Size(), public, anchored)
	case audit.IsProof(start):
		text, err := io.ReadAll(io.LimitReader(reader, 32<<20))
		if err != nil {
			return audit.VerifiedLog{}, err
		}
		return audit.VerifyProof(text, public)
	case audit.IsConsistency(start):
		text, err := io.ReadAll(io.LimitReader(reader, 1<<20))
		if err != nil {
			return audit.VerifiedLog{}, err
		}
		return audit.VerifyConsistency(text, public)
	case len(anchored) == 0:
		return audit.VerifiedLog{}, wrongUse("FILE: records alone prove nothing; name checkpoints with --anchors, or export a bundle")
	}
	return audit.VerifyRecords(reader, public, anchored)
}
