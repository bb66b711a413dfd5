package history

import (
	"maps"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// The outcomes of an entry of kind FactReload.
const (
	ReloadInForce = "in-force" // what was read is in force
	ReloadRefused = "refused"  // it was refused, and what was in force before stays
)

// StartEntry is an entry of what a replica runs with: its start, or a file that it read again.
type StartEntry struct {
	ID      notice.ID
	Kind    string // FactStart or FactReload
	Outcome string // of a start: the profile
	Facts   any    // StartFacts or ReloadFacts
	Made    time.Time
}

// StartFacts are what an entry keeps of a start of a replica. The entry may be younger than the start, which the database may have missed.
type StartFacts struct {
	System    string         `json:"system"` // replica and version
	Replica   string         `json:"replica"`
	Version   string         `json:"version"`
	Profile   string         `json:"profile"`
	StartedAt time.Time      `json:"startedAt"`      // by the clock of the replica's machine
	SHA256    string         `json:"settingsSha256"` // config.Config.Digest
	Settings  []StartSetting `json:"settings"`       // those that are not their defaults, secrets masked
	Loosened  []string       `json:"loosened"`       // keys of settings: config.Config.Loosened

	// InForce has the SHA-256 of the files, lists and key sets in force, by setting and by file or address; of private keys nothing.
	InForce map[string]map[string]string `json:"inForce"`
}

// StartSetting is one setting of a start, as the settings are shown.
type StartSetting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // file, environment, or default where it follows from others
}

// ReloadFacts are what an entry keeps of a file, a revocation list or a key set that a replica read again.
type ReloadFacts struct {
	System  string            `json:"system"`
	Setting string            `json:"setting"`
	Source  string            `json:"source"`           // files or address
	Reason  string            `json:"reason,omitempty"` // why it was refused
	InForce map[string]string `json:"inForce"`          // of the setting, after this; as in StartFacts
}

// RecordedStart is a start as the history has it. Differs is nil where no start of that replica's name is among the hundred before it.
type RecordedStart struct {
	At time.Time
	StartFacts
	Differs []StartDifference // from the replica's start before
}

// RecordedReload is a reload as the history has it.
type RecordedReload struct {
	At      time.Time
	Outcome string
	ReloadFacts
}

// StartDifference is one thing that differs between two starts: a setting, the version, or a file in force.
type StartDifference struct{ Key, Before, After string } // "" is the default, or no such file

// Since lists what differs from an earlier start, by key; an empty list where nothing does.
func (f *StartFacts) Since(earlier *StartFacts) []StartDifference {
	before, after := earlier.flat(), f.flat()
	all := maps.Clone(before)
	maps.Copy(all, after)
	out := []StartDifference{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if before[key] != after[key] {
			out = append(out, StartDifference{key, before[key], after[key]})
		}
	}
	return out
}

func (f *StartFacts) flat() map[string]string {
	out := map[string]string{"version": f.Version}
	for _, s := range f.Settings {
		out[s.Key] = s.Value
	}
	for setting, files := range f.InForce {
		for file, sum := range files {
			out[setting+": "+file] = sum
		}
	}
	return out
}
