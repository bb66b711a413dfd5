package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheObjectStoresSettingsAreJudged(t *testing.T) {
	problems := func(change func(*ObjectStore)) string {
		cfg := Standard()
		s := &cfg.Log.S3
		s.Endpoint, s.Bucket, s.AccessKeyID, s.SecretKey = "https://s3.sa-east-1.amazonaws.com", "proofs", "AKIA", "/x"
		change(s)
		p := &Problems{}
		cfg.checkAnchors(p)
		return strings.Join(p.List, "\n")
	}
	require.Empty(t, problems(func(*ObjectStore) {}))
	for key, change := range map[string]func(*ObjectStore){
		"log.anchor_s3.endpoint":        func(s *ObjectStore) { s.Endpoint = "http://s3.example.com" },
		"log.anchor_s3.bucket":          func(s *ObjectStore) { s.Bucket = "A/b" },
		"log.anchor_s3.prefix":          func(s *ObjectStore) { s.Prefix = "../x y" },
		"log.anchor_s3.region":          func(s *ObjectStore) { s.Region = "" },
		"log.anchor_s3.access_key_id":   func(s *ObjectStore) { s.AccessKeyID = "" },
		"log.anchor_s3.secret_key_file": func(s *ObjectStore) { s.SecretKey = "" },
		"log.anchor_s3.mode":            func(s *ObjectStore) { s.Mode = "NONE" },
		"log.anchor_s3.retain_days":     func(s *ObjectStore) { s.RetainDays = 30 },
	} {
		require.Contains(t, problems(change), key+" (ARAUTO_LOG_ANCHOR_S3_", key)
	}
}

// TestAnAddressWithAUserIsToldSo: it was said not to be an https:// URL, which it is.
func TestAnAddressWithAUserIsToldSo(t *testing.T) {
	for raw, says := range map[string]string{
		"https://ana:secret@bank.example/x": "has a user, which it must not have",
		"https://ana@bank.example/x":        "has a user, which it must not have",
		"http://ana@bank.example/x":         "is not an https:// URL",
		"https:///x":                        "is not an https:// URL",
	} {
		cfg, p := Standard(), &Problems{}
		cfg.Profile, cfg.Log.AnchorURL, cfg.Events.WebhookURL = Production, raw, raw
		cfg.checkAnchors(p)
		cfg.checkEvents(p)
		require.Len(t, p.List, 2, raw)
		for i, key := range []string{"log.anchor_url", "events.webhook_url"} {
			require.Contains(t, p.List[i], key)
			require.Contains(t, p.List[i], says, raw)
			require.NotContains(t, p.List[i], "%!", raw)
			require.NotContains(t, p.List[i], "ana", raw)
		}
	}
}
