package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

func auditProofCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "proof [SEQ]", Short: "prove that one entry is in the log, or that the log only grew between two checkpoints", Args: cobra.MaximumNArgs(1),
		Long: "Print a proof of the entry at position SEQ. arauto audit verify checks it, and so do other verifiers of transparency logs.\n" +
			"Positions are the member seq of exported records.\n" +
			"You may give a proof of an attempt or of its result to the initiator that owns the resource. Proofs of other entries are for the bank.\n" +
			"Without SEQ, print a proof that the log of one checkpoint is the beginning of the log of a later one:\n" +
			"between two sizes (--from-size, --to-size), or between the newest checkpoints signed up to two moments (--from, --to).\n" +
			"A date alone, such as 2026-11-21, means its end, in UTC.",
	}
	database := databaseFlag(c)
	size := sizeFlags(c)
	var b between
	c.Flags().Int64Var(&b.fromSize, "from-size", 0, "the older checkpoint, by its number of entries")
	c.Flags().Int64Var(&b.toSize, "to-size", 0, "the newer checkpoint, by its number of entries; 0: the newest")
	c.Flags().StringVar(&b.from, "from", "", "the older checkpoint: the newest up to this date or time (RFC 3339)")
	c.Flags().StringVar(&b.to, "to", "", "the newer checkpoint: the newest up to this date or time; empty: the newest of all")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		asOf, err := size()
		if err := errors.Join(err, checkSize("--from-size", b.fromSize), checkSize("--to-size", b.toSize)); err != nil {
			return err
		}
		if err := b.read(len(args) == 0); err != nil {
			return err
		}
		seq := int64(-1)
		if len(args) == 1 {
			if seq, err = strconv.ParseInt(args[0], 10, 64); err != nil || seq < 0 {
				return wrongUse("proof: %q is not a position; give the member seq of an exported record", args[0])
			}
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		var text []byte
		if seq >= 0 {
			text, err = prove(cmd.Context(), url, seq, asOf)
		} else {
			text, err = b.prove(cmd.Context(), url)
		}
		if err != nil {
			return err
		}
		_, err = w.stdout.Write(text)
		return err
	}
	return c
}

// prove makes the proof of an entry, and records that it was handed over.
func prove(ctx context.Context, url string, seq, size int64) ([]byte, error) {
	x, err := openLog(ctx, url, "--size", size)
	if err != nil {
		return nil, err
	}
	defer x.Close(ctx)
	text, err := evidence.Prove(ctx, x, seq)
	if err != nil {
		return nil, err
	}
	return text, recordProof(ctx, url, text, history.LogReading{Filter: map[string]string{"seq": strconv.FormatInt(seq, 10)}, Size: x.Checkpoint.Size, Rows: 1})
}

func recordProof(ctx context.Context, url string, text []byte, r history.LogReading) error {
	sum := sha256.Sum256(text)
	r.Act, r.SHA256 = "proof", hex.EncodeToString(sum[:])
	return auditlog.RecordReading(ctx, url, version, r)
}

// between says which two checkpoints a proof of consistency joins: by sizes, or by moments.
type between struct {
	fromSize, toSize int64
	from, to         string

	since, until time.Time // what from and to say; zero: nothing
}

// read judges the flags.
func (b *between) read(wanted bool) (err error) {
	sizes, moments := b.fromSize != 0 || b.toSize != 0, b.from != "" || b.to != ""
	switch {
	case !wanted && (sizes || moments):
		return wrongUse("proof: a position and two checkpoints are both given; name one of them")
	case !wanted:
		return nil
	case sizes && moments:
		return wrongUse("proof: sizes and times are both given; use --from-size and --to-size, or --from and --to")
	case b.fromSize < 1 && b.from == "":
		return wrongUse("proof: nothing to prove; give a position, or the older checkpoint with --from-size or --from")
	}
	if b.since, err = endOf("--from", b.from); err != nil {
		return err
	}
	if b.until, err = endOf("--to", b.to); err != nil {
		return err
	}
	if !b.until.IsZero() && b.until.Before(b.since) {
		return wrongUse("--to: %s is before --from, %s; name the older checkpoint first", utc(b.until), utc(b.since))
	}
	begins, err := timeFlag("--from", b.from, false) // a day that is not over yet has begun
	if err != nil || begins.IsZero() {
		return err
	}
	return begun("--from", begins, time.Now())
}

// endOf reads a moment; a date alone is its end, in UTC.
func endOf(flag, text string) (time.Time, error) {
	t, err := timeFlag(flag, text, true)
	if len(text) == len(time.DateOnly) {
		t = t.Add(-time.Microsecond)
	}
	return t, err
}

// prove makes the proof, verifies it, and records that it was handed over.
func (b *between) prove(ctx context.Context, url string) ([]byte, error) {
	size := b.toSize
	if !b.until.IsZero() {
		var err error
		if size, err = sizeAt(ctx, url, b.until); err != nil {
			return nil, err
		}
	}
	x, err := openLog(ctx, url, "--to-size", size)
	if err != nil {
		return nil, err
	}
	defer x.Close(ctx)
	old := b.fromSize
	if old == 0 {
		if old, err = x.SizeAt(ctx, b.since); err != nil {
			return nil, upTo(b.since, err)
		}
	}
	p, err := x.ProveSince(ctx, old)
	if err != nil {
		return nil, noSize("--from-size", err)
	}
	if _, _, err := p.Check(x.Public); err != nil {
		return nil, err
	}
	text := p.Marshal()
	return text, recordProof(ctx, url, text, history.LogReading{Filter: map[string]string{"fromSize": strconv.FormatInt(old, 10)}, Size: x.Checkpoint.Size})
}

// sizeAt finds the newest checkpoint up to a moment.
func sizeAt(ctx context.Context, url string, at time.Time) (int64, error) {
	x, err := openLog(ctx, url, "--to", 0)
	if err != nil {
		return 0, err
	}
	defer x.Close(ctx)
	size, err := x.SizeAt(ctx, at)
	return size, upTo(at, err)
}

// upTo says of which moment there is no checkpoint.
func upTo(at time.Time, err error) error {
	if errors.Is(err, store.ErrNoCheckpoint) {
		return fmt.Errorf("up to %s: %w; use a later time, because the log was first signed after it", at.UTC().Format(time.RFC3339), err)
	}
	return err
}
