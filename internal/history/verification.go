package history

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// LogFault is the first thing that is wrong with the log, and where.
type LogFault struct {
	Seq    int64
	Reason string
}

// Verification is one verification of the whole log.
type Verification struct {
	BeganAt  time.Time // names it
	EndedAt  time.Time // zero: it is under way
	Verified int64     // entries so far
	Size     int64     // of the log that is verified; it grows while the verification is under way
	Removed  int64     // entries that were removed after their retention time
	Root     string    // of the log of Size entries; empty: under way, or something is wrong
	Fault    *LogFault
	Entry    notice.ID // that records the result; zero while it is under way
}

// VerifiedScope is what the verifications of one scope have come to.
type VerifiedScope struct {
	Verified int64     // entries
	EndedAt  time.Time // of the last one
	OKAt     time.Time // of the last one without a finding; zero: none yet
	Fault    *LogFault // that no later verification has superseded
	FaultAt  time.Time
}

// AnchorState is one place outside the database that keeps checkpoints, as one replica knows it.
type AnchorState struct {
	Name         string    // file, url or object-store
	Size         int64     // of the newest checkpoint that it took; 0: none yet
	CheckpointAt time.Time // when that was signed
	Problem      string    // of the last delivery; empty: it was taken
	ProblemPT    string    // the same in Portuguese; empty: it has no words of ours
	ProblemAt    time.Time
}

// LogHealth tells how far the log is verified and anchored.
type LogHealth struct {
	Size         int64     // of the newest checkpoint; 0: none
	CheckpointAt time.Time // when it was signed
	Since, Whole VerifiedScope
	Running      *Verification // of the whole log; nil: none
	Impossible   string        // what the stored state claims and cannot be
	AnchoredAt   time.Time     // checkpoints up to then are in every anchor; zero: none
	Anchors      []AnchorState
	NotSealing   string // why sealing is stopped; empty: it is not
	NotSealingPT string // the same in Portuguese
	SealsHere    bool   // this replica has the log's key
	Witnessing   Witnessing
}

// Witnessing is what independent witnesses vouched for.
type Witnessing struct {
	Demanded  bool      // the policy demands that some of them vouch
	Size      int64     // of the newest checkpoint that the quorum vouched for; 0: none
	Until     time.Time // until when the quorum vouched
	Witnesses []WitnessState
}

// WitnessState is what one witness vouched for last, at the request of any replica.
type WitnessState struct {
	Name      string    // in the policy
	Size      int64     // of the newest checkpoint that it vouched for; 0: none
	At        time.Time // when it vouched, by its clock
	Problem   string    // why it did not when this replica asked last; empty: it did, or was not asked
	ProblemPT string    // the same in Portuguese; empty: it has no words of ours
	ProblemAt time.Time
}
