package seal

import (
	"context"
	"fmt"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/signer"
)

// Findings reads the log's key and tries the object store as serve will, and changes nothing. Findings are lines for a person. What would
// keep serve from starting is no finding: New says it. A store that refuses is one: serve starts, and tries again.
func Findings(ctx context.Context, cfg *config.Config) (findings []string) {
	if cfg.Log.Key != "" {
		if key, err := openLogKey(cfg, nil); err == nil {
			findings = append(findings, "log: the key as verifiers of transparency logs take it (vkey): "+audit.VerifierKey(key.Public()))
			if setting, socket := logSocket(cfg); socket != "" {
				findings = append(findings, signer.Finding(setting, socket, key.Try))
			}
		}
	}
	object, err := openObjectAnchor(cfg)
	if err != nil || object == nil {
		return findings
	}
	said, err := object.try(ctx)
	if err != nil {
		return append(findings, fmt.Sprintf("WARNING log.anchor_s3: %v", err))
	}
	return append(findings, "log.anchor_s3: "+said)
}
