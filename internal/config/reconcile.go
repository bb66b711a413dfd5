package config

import "time"

// checkReconcile judges the settings of the daily reconciliation.
func (c *Config) checkReconcile(p *Problems) {
	if _, err := time.Parse("15:04", c.Reconcile.At); err != nil {
		p.Add("reconcile.at", "is %q", "write hours and minutes in Brasília's time, such as 03:30", c.Reconcile.At)
	}
}
