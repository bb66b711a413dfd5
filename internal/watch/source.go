package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// How often and how soon a source acts.
const (
	controlEvery = time.Second            // operators' wishes are looked at, and the status is told
	standbyEvery = time.Second            // an origin that another replica reads is tried again: it is taken over within 5 s
	firstPause   = 200 * time.Millisecond // after a failure
	longestPause = 5 * time.Second
)

// Config holds a Source's settings. Mapping, Reader and Sink are required, and a Registrar if the mapping has initiators.
type Config struct {
	Mapping   *Mapping
	Reader    Reader
	Sink      Sink
	Registrar Registrar
	Control   Control      // nil: never paused
	Observer  Observer     // nil allowed
	Log       *slog.Logger // names the source already; nil: discarded

	// Storable reports whether our database can store changes now; the error says what is to blame. The origin is read only
	// while it can. nil: it always can.
	Storable func(ctx context.Context) error
}

// Source reads one origin, maps its records and hands the changes to the Sink. Make it with New; the caller closes the
// Reader.
type Source struct {
	mapping   *Mapping
	reader    Reader
	sink      Sink
	registrar Registrar
	control   Control
	observer  Observer
	log       *slog.Logger
	canStore  func(ctx context.Context) error // nil: always

	mu      sync.Mutex
	status  SourceStatus
	upTo    time.Time               // what the core committed until then was read
	stopped map[string][]string     // tables, and why
	columns map[string][]Column     // as they were told last
	faults  map[recordFault]failing // records that failed by themselves
	skips   map[skipRule]int64      // records passed over
	paused  bool
	turned  chan struct{} // closed and replaced when paused changes

	complaints map[string]time.Time // troubles that go on, and when the log named them last
}

// New makes a Source; Run starts it.
func New(c Config) (*Source, error) {
	switch {
	case c.Mapping == nil || c.Reader == nil || c.Sink == nil:
		return nil, errors.New("watch: a mapping, a reader and a sink are needed")
	case c.Mapping.Registers() && c.Registrar == nil:
		return nil, fmt.Errorf("watch: source %s has a table of initiators, and no Registrar is set", c.Mapping.Source)
	}
	s := &Source{
		mapping: c.Mapping, reader: c.Reader, sink: c.Sink, registrar: c.Registrar, control: c.Control, observer: c.Observer, log: c.Log,
		canStore: c.Storable, complaints: map[string]time.Time{},
		stopped: map[string][]string{}, skips: map[skipRule]int64{}, columns: map[string][]Column{}, turned: make(chan struct{}), upTo: time.Now(),
		status: SourceStatus{Source: c.Mapping.Source, Type: c.Mapping.Type, State: Connecting, LagBytes: -1},
	}
	s.control = cmp.Or[Control](s.control, nobody{})
	s.observer = cmp.Or[Observer](s.observer, nobody{})
	s.log = cmp.Or(s.log, slog.New(slog.DiscardHandler))
	return s, nil
}

// Name returns the source's name.
func (s *Source) Name() string { return s.mapping.Source }

// Mapping returns the source's mapping.
func (s *Source) Mapping() *Mapping { return s.mapping }

// Run reads until ctx ends. It retries after every failure, after 0.2 s at first and 5 s at most.
func (s *Source) Run(ctx context.Context) {
	var control sync.WaitGroup
	defer control.Wait()
	if !s.ask(ctx) {
		return
	}
	control.Go(func() { s.obey(ctx) })
	pause := firstPause
	for ctx.Err() == nil {
		if paused, turned := s.isPaused(); paused {
			s.become(Paused)
			wait(ctx, turned, 0)
			continue
		}
		s.awaitStorable(ctx)
		if paused, _ := s.isPaused(); paused || ctx.Err() != nil {
			continue
		}
		progress, err := s.session(ctx)
		s.lag(-1, unknownTime) // the origin goes on, and nothing measures it
		if progress {
			pause = firstPause
			s.complained(complaintLost)
		}
		paused, turned := s.isPaused()
		switch {
		case ctx.Err() != nil || paused:
		case errors.Is(err, ErrElsewhere):
			s.become(Standby)
			pause = firstPause
			wait(ctx, turned, standbyEvery)
		default:
			if err == nil {
				err = errors.New("the reader stopped by itself")
			}
			s.become(Waiting)
			s.failed(err)
			s.complain(ctx, complaintLost, "source lost, will be read again", err, "in", pause)
			wait(ctx, turned, pause)
			pause = min(2*pause, longestPause)
		}
	}
}

// wait returns after d (0: never), when something turned, or when ctx ends.
func wait(ctx context.Context, turned <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-turned:
	case <-ctx.Done():
	}
}

// ask waits for the first answer to whether the source is paused: nothing is read against an operator's wish.
func (s *Source) ask(ctx context.Context) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		paused, err := s.control.Paused(ctx, s.mapping.Source)
		if err == nil {
			s.pauseOrResume(paused)
			return ctx.Err() == nil
		}
		if ctx.Err() != nil {
			return false
		}
		s.become(Waiting)
		s.failed(fmt.Errorf("ask whether the source is paused: %w", err))
		wait(ctx, nil, pause)
	}
}

// obey looks every second whether an operator paused or resumed the source, and tells how it stands. While nobody can be
// asked, what was said last holds.
func (s *Source) obey(ctx context.Context) {
	tick := time.NewTicker(controlEvery)
	defer tick.Stop()
	for {
		if paused, err := s.control.Paused(ctx, s.mapping.Source); err == nil {
			s.pauseOrResume(paused)
		}
		if err := s.control.Report(ctx, s.Status()); err != nil && ctx.Err() == nil {
			s.log.DebugContext(ctx, "the status of a source could not be kept", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Source) isPaused() (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused, s.turned
}

func (s *Source) pauseOrResume(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == paused {
		return
	}
	s.paused = paused
	close(s.turned)
	s.turned = make(chan struct{})
}

// Map maps a record from quarantine with the present mapping. An error means that a related row could not be looked up
// now.
func (s *Source) Map(ctx context.Context, e Envelope) (Mapped, error) {
	if e.Cut {
		return Mapped{Problems: s.cut()}, nil
	}
	rules := s.mapping.rules[e.Record.Table]
	if e.Part < 0 || e.Part >= len(rules) {
		return Mapped{Skipped: "the mapping has no such table or part any more"}, nil
	}
	w := &work{rule: rules[e.Part], rec: &e.Record}
	m := &mapper{find: s.reader.Find}
	x := &session{Source: s}
	panicked := false
	err := x.guarded(ctx, mapping, func() *Envelope { panicked = true; return nil }, func() error { return m.all(ctx, []*work{w}) })
	if panicked {
		return Mapped{Problems: failing{mostTries, mapping}.problem()}, nil
	}
	if err != nil {
		return Mapped{}, err
	}
	return w.Mapped, nil
}
