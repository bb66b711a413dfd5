package seal

import (
	"context"
	"fmt"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
)

// Examine reads the log's key and tries the object store as serve will, and changes nothing. Findings are lines for a person;
// the error is a *config.Error with what would keep serve from starting. A store that refuses is a finding: serve starts, and
// tries again.
func Examine(ctx context.Context, cfg *config.Config) (findings []string, err error) {
	p := &config.Problems{}
	if cfg.Log.Key != "" {
		key, err := readLogKey(cfg.Log.Key)
		p.File("log.key", err)
		if err == nil {
			findings = append(findings, "log: the key as verifiers of transparency logs take it (vkey): "+audit.VerifierKey(key.Public()))
		}
	}
	object, err := openObjectAnchor(cfg)
	p.Take(err)
	if object != nil {
		said, err := object.try(ctx)
		if err != nil {
			said = fmt.Sprintf("WARNING log.anchor_s3: %v", err)
		} else {
			said = "log.anchor_s3: " + said
		}
		findings = append(findings, said)
	}
	return findings, p.Err()
}
