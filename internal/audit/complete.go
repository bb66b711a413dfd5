package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A filtered bundle of the format arauto-bundle/2 shows whether it has all entries of its clients in a period. For each
// window in which a verification counted, it has the sealed entry with the counts, and each client's place in them: how
// many entries the client has there and the root of their tree, or its two neighbours where it has none. The client's
// entries that the filter did not find are in the context, so the root can be computed again.

// windowMargin is how long a transaction may last between the time of its entries and their place in the log. An entry
// that is that much younger than the end of a period stands behind all entries of the period.
const windowMargin = time.Hour

// CountedPeriod is a stretch of the log in which verifications counted the entries of some clients, window by window.
type CountedPeriod struct {
	Clients  []string
	From, To int64  // positions From ≤ seq < To
	Start    []byte // the signed checkpoint of From entries; nil where From is 0, or where the period begins before it
}

// CountedWindow is one window of a bundle: what the log counted of its clients there, with the proofs.
type CountedWindow struct {
	Seq    int64        // position of the entry of kind verification that committed to the counts
	Record []byte       // of that entry
	Path   []Hash       // from the entry to the root of the bundle's checkpoint
	Counts ClientCounts // all of them
}

// windowLine is a window as a bundle has it.
type windowLine struct {
	Seq     int64        `json:"seq"`
	Record  []byte       `json:"record"` // base64
	Path    []string     `json:"path"`
	Clients []clientLine `json:"clients"` // in the order of the manifest
}

// clientLine is one client's place in the list of counts. It has Count, Root, Index and Path; or, where the client has no
// entry in the window, Beside: the neighbours of the place it would have.
type clientLine struct {
	Count  int64       `json:"count"`
	Root   string      `json:"root,omitempty"`
	Index  int64       `json:"index"`
	Path   []string    `json:"path,omitempty"`
	Beside []neighbour `json:"beside,omitempty"`
}

// neighbour is another client's place in the list. Its id and its number of entries stay hidden.
type neighbour struct {
	Index int64    `json:"index"`
	Key   string   `json:"key"`
	Inner string   `json:"inner"`
	Path  []string `json:"path"`
}

func texts(path []Hash) []string {
	out := make([]string, len(path))
	for i, h := range path {
		out[i] = h.String()
	}
	return out
}

func hashes(path []string) ([]Hash, error) {
	var out []Hash
	for _, s := range path {
		h, err := tlog.ParseHash(s)
		if err != nil || h.String() != s {
			return nil, errors.New("its proof cannot be read")
		}
		out = append(out, h)
	}
	return out, nil
}

// line makes the proofs for some clients.
func (w *CountedWindow) line(clients []string) windowLine {
	out := windowLine{Seq: w.Seq, Record: w.Record, Path: texts(w.Path), Clients: make([]clientLine, len(clients))}
	leaves := w.Counts.leaves()
	for n, client := range clients {
		i, found := w.Counts.Find(ClientKey(client))
		if found {
			c := w.Counts[i]
			out.Clients[n] = clientLine{Count: c.Count, Root: c.Root.String(), Index: int64(i), Path: texts(pathIn(leaves, i))}
			continue
		}
		for j := max(0, i-1); j <= min(i, len(w.Counts)-1); j++ {
			c := w.Counts[j]
			out.Clients[n].Beside = append(out.Clients[n].Beside, neighbour{int64(j), c.Key.String(), c.inner().String(), texts(pathIn(leaves, j))})
		}
	}
	return out
}

// Of is the commitment that the window's entry made. The error says why it is none.
func (w *CountedWindow) Of() (Commitment, error) { return commitmentOf(w.Record) }

func commitmentOf(record []byte) (Commitment, error) {
	var r struct {
		Kind    string `json:"kind"`
		Outcome string `json:"outcome"`
		Facts   struct {
			Counts *Commitment `json:"counts"`
		} `json:"facts"`
	}
	if err := json.Unmarshal(record, &r); err != nil || r.Kind != "verification" || r.Outcome != "ok" || r.Facts.Counts == nil {
		return Commitment{}, errors.New("the entry is not one about a verification that counted")
	}
	c := *r.Facts.Counts
	if c.From < 0 || c.To <= c.From || c.Clients < 0 {
		return Commitment{}, errors.New("the entry's window is none")
	}
	return c, nil
}

// check verifies one client's place in the counts and returns how many entries it has and their root.
func (c *clientLine) check(client string, to Commitment) (count int64, root Hash, err error) {
	wrong := fmt.Errorf("what is said of client %q is not in the counts", client)
	all, err := to.hash()
	if err != nil {
		return 0, root, wrong
	}
	key := ClientKey(client)
	if len(c.Beside) == 0 && c.Count > 0 {
		if root, err = tlog.ParseHash(c.Root); err != nil {
			return 0, root, wrong
		}
		path, err := hashes(c.Path)
		if err != nil || CheckInclusion(path, c.Index, countLeaf(key, ClientCount{Count: c.Count, Root: root}.inner()), to.Clients, all) != nil {
			return 0, root, wrong
		}
		return c.Count, root, nil
	}
	return 0, EmptyRoot(), c.absent(key, to, all, wrong)
}

// absent verifies that two neighbours leave no place for a key between them.
func (c *clientLine) absent(key Hash, to Commitment, all Hash, wrong error) error {
	if to.Clients == 0 && len(c.Beside) == 0 && all == EmptyRoot() {
		return nil
	}
	for _, n := range c.Beside {
		have, err1 := tlog.ParseHash(n.Key)
		inner, err2 := tlog.ParseHash(n.Inner)
		path, err3 := hashes(n.Path)
		if errors.Join(err1, err2, err3) != nil || CheckInclusion(path, n.Index, countLeaf(have, inner), to.Clients, all) != nil {
			return wrong
		}
	}
	side := func(n neighbour) int { // of the key on which the neighbour stands
		have, _ := tlog.ParseHash(n.Key) // was parsed above
		return bytes.Compare(have[:], key[:])
	}
	b := c.Beside
	switch {
	case len(b) == 2 && b[1].Index == b[0].Index+1 && side(b[0]) < 0 && side(b[1]) > 0,
		len(b) == 1 && b[0].Index == 0 && side(b[0]) > 0,
		len(b) == 1 && b[0].Index == to.Clients-1 && side(b[0]) < 0:
		return nil
	}
	return wrong
}

// Counted makes the bundle one that shows its completeness for these clients.
func (b *BundleWriter) Counted(clients []string) {
	b.manifest.Format, b.manifest.Clients = bundleCounted, clients
}

// Context writes one entry of the clients that the filter did not find, in the order of the log.
func (b *BundleWriter) Context(line []byte) error {
	b.manifest.Context++
	return b.line(memberContext, line)
}

// Window writes one window, in the order of the log.
func (b *BundleWriter) Window(w *CountedWindow) error {
	text, err := json.Marshal(w.line(b.manifest.Clients))
	if err != nil {
		return err
	}
	b.manifest.Windows++
	return b.line(memberCounts, text)
}

// found is one entry of a bundle, as far as completeness needs it.
type found struct {
	seq  int64
	leaf Hash
	at   Instant
}

// completeness looks whether a bundle lacks nothing.
type completeness struct {
	b       *bundle
	head    Checkpoint
	start   []Checkpoint // those before the bundle's own
	filter  filter
	clients map[string][]found
	newest  []found // entries that may show where a period ends: the verifications
	notes   []string
}

// verifyCounts verifies context and windows of a bundle whose entries were verified by their proofs. What does not fit is
// a *Fault; what is not covered is a note.
func (b *bundle) verifyCounts(checkpoints []Checkpoint, v *VerifiedLog) error {
	c := &completeness{b: b, head: checkpoints[len(checkpoints)-1], start: checkpoints[:len(checkpoints)-1], clients: map[string][]found{}}
	for _, client := range b.Clients {
		c.clients[client] = nil
	}
	var unknown string
	if c.filter, unknown = newFilter(b.Filter, b.Clients); unknown != "" {
		v.Notes = append(v.Notes, unknown)
	}
	if err := c.collect(memberEntries, b.Entries, true); err != nil {
		return err
	}
	if err := c.collect(memberContext, b.Context, false); err != nil {
		return err
	}
	for client := range c.clients {
		slices.SortFunc(c.clients[client], func(a, b found) int { return cmp.Compare(a.seq, b.seq) })
	}
	from, to, err := c.windows()
	if err != nil {
		return err
	}
	covered := c.covered(from, to)
	v.Complete = covered && unknown == "" && len(b.Clients) > 0
	v.Notes = append(v.Notes, c.notes...)
	if v.Complete {
		begin := cmp.Or(b.Filter["from"], "the beginning of the log")
		v.Notes = append(v.Notes, fmt.Sprintf(noteComplete, strings.Join(b.Clients, ", "), begin, b.Filter["to"], b.Entries, memberContext, from, to-1))
		if b.Filter["organisationId"] != "" {
			v.Notes = append(v.Notes, noteOrganisation)
		}
	}
	return nil
}

// collect reads the entries of a member; wanted tells whether the filter must find them or must not.
func (c *completeness) collect(member string, count int64, wanted bool) error {
	if count == 0 {
		return nil
	}
	r, err := c.b.open(member)
	if err != nil {
		return &Fault{0, err.Error()}
	}
	defer r.Close()
	lines := newLines(r, maxRecord)
	last, n := int64(-1), int64(0)
	for ; lines.Scan(); n++ {
		record, leaf, err := cutLine(nil, lines.Bytes())
		seq, errSeq := Seq(record)
		if err != nil || errSeq != nil || seq <= last {
			return &Fault{max(last, 0), "after it " + member + " has something that is not a record in order"}
		}
		last = seq
		var e filtered
		at, errAt := e.read(record)
		client := ""
		if e.ClientID != nil {
			client = *e.ClientID
		}
		_, ours := c.clients[client]
		switch {
		case errAt != nil, Leaf(record) != leaf:
			return &Fault{seq, "the leaf that stands beside the entry is not the entry's"}
		case !ours || e.ClientID == nil:
			return &Fault{seq, "the entry is of another client than the manifest names"}
		case c.filter != nil && c.filter(&e) != wanted:
			return &Fault{seq, "the entry does not belong into " + member + " by the filter"}
		}
		c.clients[client] = append(c.clients[client], found{seq, leaf, at})
	}
	if lines.Err() != nil || n != count {
		return &Fault{max(last, 0), fmt.Sprintf("the manifest speaks of %d entries in %s, %d are here", count, member, n)}
	}
	return nil
}

// windows verifies all windows and returns which positions they cover.
func (c *completeness) windows() (from, to int64, err error) {
	if c.b.Windows == 0 {
		return 0, 0, nil
	}
	r, err := c.b.open(memberCounts)
	if err != nil {
		return 0, 0, &Fault{0, err.Error()}
	}
	defer r.Close()
	lines := newLines(r, maxRecord)
	n := int64(0)
	for ; lines.Scan(); n++ {
		var w windowLine
		if json.Unmarshal(lines.Bytes(), &w) != nil {
			return 0, 0, &Fault{to, "the counts of the window that begins here cannot be read"}
		}
		of, err := c.window(&w)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case n == 0:
			from = of.From
		case of.From != to:
			return 0, 0, &Fault{to, fmt.Sprintf("the windows have a gap: the next one begins at %d", of.From)}
		}
		to = of.To
	}
	if lines.Err() != nil || n != c.b.Windows {
		return 0, 0, &Fault{to, fmt.Sprintf("the manifest speaks of %d windows, %d are here", c.b.Windows, n)}
	}
	return from, to, nil
}

// window verifies one window: its entry, the place of each client, and the entries that are here.
func (c *completeness) window(w *windowLine) (of Commitment, err error) {
	path, err := hashes(w.Path)
	if err != nil {
		return of, &Fault{w.Seq, err.Error()}
	}
	if err := checkRecord(w.Record, w.Seq, path, c.head); err != nil {
		return of, err
	}
	if of, err = commitmentOf(w.Record); err != nil {
		return of, &Fault{w.Seq, err.Error()}
	}
	if of.To > w.Seq {
		return of, &Fault{w.Seq, "the entry counts positions that were not there when it was written"}
	}
	if len(w.Clients) != len(c.b.Clients) {
		return of, &Fault{w.Seq, "the window does not speak of each client of the manifest"}
	}
	var e filtered
	at, err := e.read(w.Record)
	if err != nil {
		return of, &Fault{w.Seq, err.Error()}
	}
	c.newest = append(c.newest, found{seq: w.Seq, at: at})
	for i, client := range c.b.Clients {
		count, root, err := w.Clients[i].check(client, of)
		if err != nil {
			return of, &Fault{w.Seq, err.Error()}
		}
		var here Range
		for _, f := range c.clients[client] {
			if f.seq >= of.From && f.seq < of.To {
				here.Append(f.leaf, nil)
			}
		}
		if here.Size() != count {
			return of, &Fault{of.From, fmt.Sprintf("from here to %d the log has %d entries of client %q, and the bundle has %d", of.To-1, count, client, here.Size())}
		}
		if here.Root() != root {
			return of, &Fault{of.From, fmt.Sprintf("from here to %d the bundle has other entries of client %q than the log", of.To-1, client)}
		}
	}
	return of, nil
}

// covered tells whether windows from one position to another hold all entries of the filter's period; else it notes what
// is missing.
func (c *completeness) covered(from, to int64) bool {
	if to == 0 {
		c.notes = append(c.notes, noteNoWindows)
		return false
	}
	start := from == 0
	begins, errFrom := parseInstant(c.b.Filter["from"])
	for _, s := range c.start {
		start = start || errFrom == nil && s.Size >= from && s.At <= begins
	}
	if !start {
		c.notes = append(c.notes, fmt.Sprintf(noteBefore, from))
	}
	ends, errTo := parseInstant(c.b.Filter["to"])
	if errTo != nil {
		c.notes = append(c.notes, noteNoEnd)
		return false
	}
	behind := At(ends.Time().Add(windowMargin))
	past := func(f found) bool { return f.seq < to && f.at >= behind }
	end := slices.ContainsFunc(c.newest, past)
	for _, entries := range c.clients {
		end = end || slices.ContainsFunc(entries, past)
	}
	if !end {
		c.notes = append(c.notes, fmt.Sprintf(noteAfter, to))
	}
	return start && end
}

// filtered is what a filter looks at.
type filtered struct {
	At           string          `json:"at"`
	Kind         string          `json:"kind"`
	ClientID     *string         `json:"clientId"`
	ResourceKind *int            `json:"resourceKind"`
	Outcome      *string         `json:"outcome"`
	Facts        json.RawMessage `json:"facts"`
}

func (e *filtered) read(record []byte) (Instant, error) {
	if err := json.Unmarshal(record, e); err != nil {
		return 0, errors.New("the record cannot be read")
	}
	return parseInstant(e.At)
}

// filter tells whether an entry is one that was asked for.
type filter func(*filtered) bool

// resourceKinds are the kinds of resources by their names in a filter.
var resourceKinds = map[string]int{"payment-consent": 1, "pix-payment": 2, "recurring-consent": 3, "recurring-payment": 4, "enrollment": 5}

// notWord tells what no kind of entry and no outcome is called, today's or a later one's: they have visible ASCII alone. A word that only looks
// like one finds nothing, and would be complete.
func notWord(text string) bool {
	return text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// newFilter makes the filter of a manifest. unknown says why it cannot be judged whether the filter left something out;
// the filter is nil then.
func newFilter(members map[string]string, clients []string) (f filter, unknown string) {
	client := members["clientId"]
	if client == "" && members["organisationId"] == "" && len(clients) > 0 || client != "" && (len(clients) > 1 || len(clients) == 1 && clients[0] != client) {
		return nil, noteClients
	}
	var tests []filter
	for name, value := range members {
		switch name {
		case "clientId", "organisationId": // by the list of clients
		case "kind":
			kind, known := resourceKinds[value]
			if !known {
				return nil, fmt.Sprintf(noteMember, name)
			}
			tests = append(tests, func(e *filtered) bool { return e.ResourceKind != nil && *e.ResourceKind == kind })
		case "entry":
			kinds := strings.Split(value, ",")
			if slices.ContainsFunc(kinds, notWord) {
				return nil, fmt.Sprintf(noteMember, name)
			}
			tests = append(tests, func(e *filtered) bool { return slices.Contains(kinds, e.Kind) })
		case "outcome":
			if notWord(value) {
				return nil, fmt.Sprintf(noteMember, name)
			}
			tests = append(tests, func(e *filtered) bool { return e.Outcome != nil && *e.Outcome == value })
		case "late":
			if value != "true" {
				return nil, fmt.Sprintf(noteMember, name)
			}
			tests = append(tests, func(e *filtered) bool {
				var facts struct {
					Late bool `json:"late"`
				}
				return e.Kind == "attempt" && json.Unmarshal(e.Facts, &facts) == nil && facts.Late
			})
		case "from", "to":
			limit, err := parseInstant(value)
			if err != nil {
				return nil, fmt.Sprintf(noteTime, name)
			}
			tests = append(tests, func(e *filtered) bool {
				at, err := parseInstant(e.At)
				return err == nil && (at >= limit) == (name == "from")
			})
		default:
			return nil, fmt.Sprintf(noteMember, name)
		}
	}
	return func(e *filtered) bool {
		return !slices.ContainsFunc(tests, func(test filter) bool { return !test(e) })
	}, ""
}
