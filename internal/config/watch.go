package config

import (
	"slices"
	"time"
)

// checkWatch judges the settings of sources by themselves; the files are read by loadSources.
func (c *Config) checkWatch(p *Problems) {
	if r := c.Watch.Readiness; r != 0 && r < time.Second {
		p.Add("watch.readiness", "is %s", "use 1s or more, or 0 for never", r)
	}
	sorted := slices.Sorted(slices.Values(c.Watch.Sources))
	for n, file := range sorted {
		if file == "" || n > 0 && sorted[n-1] == file {
			p.Add("watch.sources", "names %q twice, or has an empty entry", "name each mapping file once", file)
		}
	}
}
