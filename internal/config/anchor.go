package config

import (
	"net/url"
	"regexp"
	"strings"
)

// ObjectStore is where checkpoints are put as objects that nobody can remove before their time, in any service that
// speaks S3 with Object Lock. It is used when Endpoint is set.
type ObjectStore struct {
	Endpoint    string `yaml:"endpoint" env:"ARAUTO_LOG_ANCHOR_S3_ENDPOINT"`
	CA          string `yaml:"ca" env:"ARAUTO_LOG_ANCHOR_S3_CA"`
	Region      string `yaml:"region" env:"ARAUTO_LOG_ANCHOR_S3_REGION"`
	Bucket      string `yaml:"bucket" env:"ARAUTO_LOG_ANCHOR_S3_BUCKET"`
	Prefix      string `yaml:"prefix" env:"ARAUTO_LOG_ANCHOR_S3_PREFIX"`
	AccessKeyID string `yaml:"access_key_id" env:"ARAUTO_LOG_ANCHOR_S3_ACCESS_KEY_ID"`
	SecretKey   string `yaml:"secret_key_file" env:"ARAUTO_LOG_ANCHOR_S3_SECRET_KEY_FILE"`
	Mode        string `yaml:"mode" env:"ARAUTO_LOG_ANCHOR_S3_MODE"`
	RetainDays  int    `yaml:"retain_days" env:"ARAUTO_LOG_ANCHOR_S3_RETAIN_DAYS"`
}

// The two modes of Object Lock. What is under compliance nobody removes, not even the account's owner.
const (
	modeCompliance = "COMPLIANCE"
	modeGovernance = "GOVERNANCE"
)

// fiveYears in days, the BCB's common period.
const fiveYears = 5*365 + 1

func standardObjectStore() ObjectStore {
	return ObjectStore{Region: "us-east-1", Prefix: "arauto", Mode: modeCompliance, RetainDays: fiveYears}
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixName = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9_.+=@-]+$`)
)

// checkAnchors judges where checkpoints are carried to.
func (c *Config) checkAnchors(p *Problems) {
	c.checkPosted(p, "log.anchor_url", c.Log.AnchorURL, "use the https:// URL to which checkpoints are posted")
	s := &c.Log.S3
	if c.Log.TilesS3 && s.Endpoint == "" {
		p.Add("log.tiles_s3", "there is no object store", "set log.anchor_s3.endpoint, or leave this out")
	}
	if s.Endpoint == "" {
		return
	}
	u, err := url.Parse(s.Endpoint)
	if !c.mayPost(s.Endpoint) || err != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		p.Add("log.anchor_s3.endpoint", "is not https:// and a host", "name the service without bucket or path, such as https://s3.sa-east-1.amazonaws.com")
	}
	for _, named := range []struct {
		key  string
		good bool
	}{
		{"bucket", bucketName.MatchString(s.Bucket)},
		{"prefix", prefixName.MatchString(s.Prefix)},
		{"region", plainWord.MatchString(s.Region)},
		{"access_key_id", plainWord.MatchString(s.AccessKeyID)},
	} {
		if !named.good {
			p.Add("log.anchor_s3."+named.key, "is not set, or has characters it may not have", "copy it from the service's console")
		}
	}
	if s.SecretKey == "" {
		p.Add("log.anchor_s3.secret_key_file", "is not set", "name the file of the secret access key")
	}
	if s.Mode != modeCompliance && s.Mode != modeGovernance {
		p.Add("log.anchor_s3.mode", "is %q", "use COMPLIANCE or GOVERNANCE", s.Mode)
	}
	if s.RetainDays < fiveYears && c.Profile == Production || s.RetainDays < 1 || s.RetainDays > 36500 {
		p.Add("log.anchor_s3.retain_days", "is %d", "use 1826 to 36500: proofs are kept as long as the history", s.RetainDays)
	}
}

// checkPosted judges a URL to which something is posted; "": there is none.
func (c *Config) checkPosted(p *Problems, key, raw, instead string) {
	if raw == "" || c.mayPost(raw) {
		return
	}
	if u, err := url.Parse(raw); err == nil {
		if u.User = nil; c.mayPost(u.String()) {
			p.Add(key, "has a user, which it must not have", "leave out what stands before the @ of the URL")
			return
		}
	}
	p.Add(key, "is not an https:// URL", instead)
}

// mayPost tells whether checkpoints may go to a URL: over TLS, or in development without.
func (c *Config) mayPost(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && c.Profile == Development)
}
