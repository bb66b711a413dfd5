package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/trust"
)

// When witnesses are asked.
const (
	vouchTick  = 10 * time.Second // between two looks whether they must be asked, and after a quorum that was not reached
	vouchEvery = time.Minute      // the least time between two checkpoints that the quorum vouched for
	vouchAgain = 10 * time.Minute // after which a log that does not grow is vouched for anew
	vouchMost  = 16               // checkpoints among which the newest with a quorum is looked for
)

// witnesses are asked to vouch for checkpoints, beside sealing, which never waits for them.
type witnesses struct {
	policy *audit.Policy
	client *http.Client
	now    func() time.Time
	wake   chan struct{} // there is a checkpoint, and no quorum is known yet

	mu    sync.Mutex
	sizes map[string]int64                  // what each vouched for last, as far as this process knows
	wrong map[string]failure                // why each did not vouch when this process asked last; absent: it did
	heads map[string]auditlog.PublishedHead // checkpoints of witnesses that refused ours

	since time.Time // when this process learnt what the quorum said last, by our clock; of the goroutine that asks

	until    atomic.Pointer[time.Time] // up to when the quorum vouches; nil: not known
	newest   atomic.Pointer[head]      // the newest checkpoint with a quorum, with its cosignatures
	carriers []*carrier                // which carry it to the anchors
}

// openWitnesses reads the policy of the settings; nil without one. The error is a *config.Error.
func openWitnesses(c *config.Config, key *audit.Signer) (*witnesses, error) {
	if c.Log.Witnesses == "" {
		return nil, nil
	}
	p := &config.Problems{}
	wrong := func(format string, args ...any) {
		p.Add("log.witnesses", format, "name a policy of witnesses (C2SP tlog-policy), such as docs/operations/witness.md shows", args...)
	}
	v := &witnesses{now: time.Now, wake: make(chan struct{}, 1), sizes: map[string]int64{}, wrong: map[string]failure{}, heads: map[string]auditlog.PublishedHead{}}
	text, err := os.ReadFile(c.Log.Witnesses)
	if err == nil {
		v.policy, err = audit.ParsePolicy(text)
	}
	if err != nil {
		wrong("%v", err)
		return nil, p.Err()
	}
	if key != nil && !v.policy.Knows(key.Public()) {
		wrong("%s names other logs than %s", c.Log.Witnesses, audit.Origin(key.Public()))
	}
	for _, w := range v.policy.Witnesses {
		if u, err := url.Parse(w.URL); err != nil || w.URL == "" || u.Scheme != "https" && c.Profile == config.Production {
			wrong("witness %s has no https URL, so it cannot be asked", w.Label)
		}
	}
	var roots *mtls.Anchors
	if c.Log.WitnessCA != "" {
		if roots, err = mtls.LoadAnchors(c.Log.WitnessCA); err != nil {
			p.Add("log.witness_ca", "%v", "name a PEM file of the authority of the witnesses' certificates", err)
		}
	}
	v.client = trust.NewAnchorClient(roots, anchorTimeout)
	return v, p.Err()
}

// Witnesses are the names of the witnesses in the policy, and whether it demands that some of them vouch.
func (w *Sealer) Witnesses() (names []string, demanded bool) {
	if w.witnesses == nil {
		return nil, false
	}
	for _, one := range w.witnesses.policy.Witnesses {
		names = append(names, one.Label)
	}
	return names, w.witnesses.policy.Demands()
}

// errWitness means that a witness did not vouch for a checkpoint.
var errWitness = errors.New("a witness did not vouch for a checkpoint")

// errContradicts means that a witness vouched for another history of this log, or for a longer one.
var errContradicts error = troubled("a witness refuses this log: it vouched for a history that the log does not extend",
	"uma testemunha recusa este log: ela atestou um histórico que este log não continua")

// errForged means that rows of log_cosignature are not what their witness signed.
var errForged = errors.New("stored cosignatures are not what their witnesses signed: somebody put them in, and they are passed over")

// vouch asks the witnesses until ctx ends.
func (w *Sealer) vouch(ctx context.Context) {
	tick := time.NewTicker(vouchTick)
	defer tick.Stop()
	for {
		if err := w.vouchRound(ctx); err != nil && ctx.Err() == nil {
			w.complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.witnesses.wake:
		case <-tick.C:
		}
	}
}

// stir wakes the asking for the first checkpoint. It returns at once.
func (v *witnesses) stir() {
	if v == nil || v.until.Load() != nil {
		return
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// vouchRound shows up to when the quorum vouches, and asks the witnesses when it is time. One replica at a time asks.
func (w *Sealer) vouchRound(ctx context.Context) error {
	newest := w.newest.Load()
	if newest == nil { // nothing is sealed, or this replica has not the key
		return nil
	}
	if err := w.readQuorum(ctx); err != nil || !w.witnesses.due(newest) {
		return err
	}
	asked, err := w.store.InTurn(ctx, "witness", func(ctx context.Context) error {
		var all sync.WaitGroup
		for _, one := range w.witnesses.policy.Witnesses {
			all.Go(func() { w.ask(ctx, one, *newest) })
		}
		all.Wait()
		return nil
	})
	if err != nil || !asked {
		return err
	}
	return w.readQuorum(ctx)
}

// due returns whether the witnesses must be asked about the newest checkpoint. Our own clock decides: one of a witness may be ahead.
func (v *witnesses) due(newest *head) bool {
	vouched, until := v.newest.Load(), v.until.Load()
	if vouched == nil || until == nil {
		return true
	}
	every := vouchEvery
	if vouched.size == newest.size {
		every = vouchAgain
	}
	now := v.now()
	return now.Sub(v.since) >= every || now.Sub(*until) >= every
}

// vouchedFor is what witnesses said of this log, at the request of any replica.
type vouchedFor struct {
	quorum *head         // the newest checkpoint with the quorum, with its cosignatures; nil: there is none yet
	until  time.Time     // until when the quorum vouched
	last   []lastVouched // one for each witness of the policy that vouched
}

// lastVouched is the newest checkpoint that a witness vouched for, and when it did.
type lastVouched struct {
	name string // in the policy
	size int64
	at   time.Time
}

// look reads what witnesses said. It needs the public key of the log alone.
func (w *Sealer) look(ctx context.Context) (out vouchedFor, err error) {
	v := w.witnesses
	public, err := w.LogKey(ctx)
	if err != nil || public == nil {
		return out, err
	}
	stored, err := w.store.Cosigned(ctx, v.policy.Keys(), vouchMost)
	if err != nil {
		return out, err
	}
	if stored.Forged > 0 {
		w.complain(fmt.Errorf("%w: %w: %d of the newest", errWitness, errForged, stored.Forged))
	}
	for _, note := range stored.Notes {
		c, errOpen := audit.OpenCheckpoint(note, public)
		said, errRead := v.policy.Cosignatures(note, public)
		if err := errors.Join(errOpen, errRead); err != nil {
			w.complain(fmt.Errorf("%w: %w", errWitness, err))
			continue
		}
		said = audit.NotAhead(said, v.now())
		for _, s := range said {
			name := v.policy.Label(s.Witness)
			if !slices.ContainsFunc(out.last, func(known lastVouched) bool { return known.name == name }) {
				out.last = append(out.last, lastVouched{name, c.Size, s.At})
			}
		}
		until, reached := v.policy.Until(said)
		if out.quorum != nil || !reached {
			continue
		}
		if !v.policy.Demands() { // any witness suffices
			for _, s := range said {
				until = maxTime(until, s.At)
			}
		}
		out.quorum, out.until = &head{c.Size, c.At.Time(), note}, until
	}
	return out, nil
}

// readQuorum finds the newest checkpoint that the quorum vouched for and wakes the carriers.
func (w *Sealer) readQuorum(ctx context.Context) error {
	found, err := w.look(ctx)
	if err != nil {
		return err
	}
	v := w.witnesses
	for _, s := range found.last {
		w.observer.Vouched(s.name, s.at)
	}
	if found.quorum == nil {
		return nil
	}
	if v.policy.Demands() {
		w.observer.Witnessed(found.quorum.size, found.until)
	}
	have, before := v.newest.Load(), v.until.Load()
	fresh := have == nil || have.size != found.quorum.size
	if fresh || before == nil || !before.Equal(found.until) {
		v.since = v.now()
	}
	v.until.Store(&found.until)
	if fresh {
		v.newest.Store(found.quorum)
		for _, one := range v.carriers {
			one.stir()
		}
	}
	return nil
}

// VouchedSize is the size of the newest checkpoint that the quorum of the policy vouched for, at the request of any replica; 0 without a
// policy, or while there is none.
func (w *Sealer) VouchedSize(ctx context.Context) (int64, error) {
	if w.witnesses == nil {
		return 0, nil
	}
	if h := w.witnesses.newest.Load(); h != nil { // read every few seconds
		return h.size, nil
	}
	found, err := w.look(ctx) // this replica has not the key of the log, or has just begun
	if err != nil || found.quorum == nil {
		return 0, err
	}
	return found.quorum.size, nil
}

// WitnessStates tells what each witness of the policy vouched for last, and what this replica met when it asked.
func (w *Sealer) WitnessStates(ctx context.Context) (history.Witnessing, error) {
	if w.witnesses == nil {
		return history.Witnessing{}, nil
	}
	found, err := w.look(ctx)
	if err != nil {
		return history.Witnessing{}, err
	}
	out := history.Witnessing{Demanded: w.witnesses.policy.Demands()}
	if found.quorum != nil {
		out.Size, out.Until = found.quorum.size, found.until
	}
	w.witnesses.mu.Lock()
	defer w.witnesses.mu.Unlock()
	for _, one := range w.witnesses.policy.Witnesses {
		state := history.WitnessState{Name: one.Label, Problem: w.witnesses.wrong[one.Label].text, ProblemPT: w.witnesses.wrong[one.Label].pt, ProblemAt: w.witnesses.wrong[one.Label].at}
		if at := slices.IndexFunc(found.last, func(s lastVouched) bool { return s.name == one.Label }); at >= 0 {
			state.Size, state.At = found.last[at].size, found.last[at].at
		}
		out.Witnesses = append(out.Witnesses, state)
	}
	return out, nil
}

// carryCosigned delivers the newest checkpoint with a quorum to one anchor until ctx ends.
func (w *Sealer) carryCosigned(ctx context.Context, c *carrier) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if _, err := c.carry(ctx, w.witnesses.newest.Load()); err != nil && ctx.Err() == nil {
			w.observer.AnchorFailed(c.name)
			w.complain(fmt.Errorf("%w: with the cosignatures of witnesses: %w", errAnchor, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// ask asks one witness to vouch for a checkpoint, and stores what it says.
func (w *Sealer) ask(ctx context.Context, one audit.PolicyWitness, h head) {
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	said, err := w.witnesses.ask(ctx, one, h, w)
	if err == nil && said != nil {
		err = w.store.KeepCosignature(ctx, h.size, *said)
	}
	w.witnesses.mu.Lock()
	if delete(w.witnesses.wrong, one.Label); err != nil {
		w.witnesses.wrong[one.Label] = failureOf(err)
	}
	w.witnesses.mu.Unlock()
	if err == nil {
		return
	}
	w.observer.WitnessFailed(one.Label, errors.Is(err, errContradicts))
	w.complain(fmt.Errorf("%w: witness %s: %w", errWitness, one.Label, err))
}

// conflictSizes is how often a witness may name another size in one round.
const conflictSizes = 3

// ask returns what a witness says of a checkpoint; nil when it vouched for a newer one meanwhile.
func (v *witnesses) ask(ctx context.Context, one audit.PolicyWitness, h head, w *Sealer) (*audit.Cosignature, error) {
	v.mu.Lock()
	old := min(v.sizes[one.Label], h.size)
	v.mu.Unlock()
	for range conflictSizes {
		path, err := w.store.ProveGrowth(ctx, old, h.size)
		if err != nil {
			return nil, err
		}
		status, text, err := v.post(ctx, one, audit.CosignRequest{Old: old, Path: path, Checkpoint: h.note})
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			said, err := audit.ReadCosignatures(append(bytes.Clone(h.note), text...), w.key.Public(), []audit.WitnessKey{one.WitnessKey})
			if err != nil || len(said) != 1 {
				return nil, errors.Join(troubled("its answer is no cosignature with its key", "a resposta dela não é uma assinatura com a chave dela"), err)
			}
			v.vouched(one.Label, h.size)
			if ahead := said[0].At.Sub(v.now()); ahead > audit.MaxAhead {
				return nil, troubled("its clock is %s ahead of ours, %s at most is allowed; set the clock that is wrong",
					"o relógio dela está %s à frente do nosso, e o máximo é %s; acerte o relógio que está errado", ahead.Round(time.Second), audit.MaxAhead)
			}
			return &said[0], nil
		case status == http.StatusUnprocessableEntity:
			return nil, v.contradicts(ctx, one, w)
		case status != http.StatusConflict:
			return nil, troubled("it answered %d", "ela respondeu %d", status)
		}
		if old, err = strconv.ParseInt(strings.TrimSuffix(string(text), "\n"), 10, 64); err != nil || old < 0 {
			return nil, troubled("it answered 409 without a size", "ela respondeu 409 sem um tamanho")
		}
		v.vouched(one.Label, old)
		if old > h.size {
			newest, err := w.store.Checkpoint(ctx, 0) // what this process remembers may be older than what another replica asked about
			if err != nil || old <= newest.Checkpoint.Size {
				return nil, err
			}
			return nil, v.contradicts(ctx, one, w)
		}
	}
	return nil, troubled("it names another size each time", "ela informa outro tamanho a cada vez")
}

func (v *witnesses) vouched(label string, size int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sizes[label] = size
}

// contradicts asks a witness which checkpoint it vouched for, and compares the log with it. The error is errContradicts unless the log
// extends that checkpoint; the sealer then compares the log with it before it signs again.
func (v *witnesses) contradicts(ctx context.Context, one audit.PolicyWitness, w *Sealer) error {
	sum := sha256.Sum256([]byte(audit.Origin(w.key.Public())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, one.URL+"/"+hex.EncodeToString(sum[:])+"/checkpoint", http.NoBody)
	if err != nil {
		return errContradicts
	}
	status, note, err := v.do(req)
	if err != nil || status != http.StatusOK {
		return errContradicts
	}
	c, err := audit.OpenCheckpoint(note, w.key.Public())
	if err != nil {
		return errContradicts
	}
	if said, err := audit.ReadCosignatures(note, w.key.Public(), []audit.WitnessKey{one.WitnessKey}); err != nil || len(said) != 1 {
		return errContradicts
	}
	vouched := auditlog.PublishedHead{Checkpoint: c, Where: "the witness " + one.Label}
	switch err := w.store.Extends(ctx, w.key.Public(), vouched); {
	case err == nil:
		return troubled("it does not vouch, although the log extends the %d entries that it vouched for, or a statement of loss admits them",
			"ela não atesta, embora o log continue os %d registros que ela atestou, ou uma declaração de perda os admita", c.Size)
	case !errors.Is(err, store.ErrSetBack):
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heads[one.Label] = vouched
	return troubled("%v: it vouched for %d entries, signed at %s", "uma testemunha recusa este log: ela atestou %[2]d registros, assinados em %[3]s, que este log não continua",
		errContradicts, c.Size, c.At).as(errContradicts)
}

// published are the checkpoints of witnesses that refused ours. It asks nobody.
func (v *witnesses) published() (all []auditlog.PublishedHead) {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, h := range v.heads {
		all = append(all, h)
	}
	return all
}

func (v *witnesses) post(ctx context.Context, one audit.PolicyWitness, r audit.CosignRequest) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, one.URL+"/add-checkpoint", bytes.NewReader(r.Marshal()))
	if err != nil {
		return 0, nil, troubled("its address is not a URL", "o endereço dela não é uma URL")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	return v.do(req)
}

func (v *witnesses) do(req *http.Request) (int, []byte, error) {
	resp, err := v.client.Do(req)
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	return resp.StatusCode, text, nil
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
