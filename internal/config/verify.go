package config

import "time"

// checkVerify judges the settings of verification.
func (c *Config) checkVerify(p *Problems) {
	least := time.Minute
	if c.Profile == Development {
		least = time.Second
	}
	if c.Log.VerifyEvery < least || c.Log.VerifyEvery > 24*time.Hour {
		p.Add("log.verify_every", "is %v", "use "+least.String()+" to 24h", c.Log.VerifyEvery)
	}
}
