package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lifecycle"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// self is what this replica tells the others.
func (g *Gateway) self() auditlog.RunningReplica {
	return auditlog.RunningReplica{Name: g.cfg.Replica, Version: g.version, Profile: g.cfg.Profile, Started: g.began.UTC().Truncate(time.Microsecond)}
}

// besideProduction is the refusal of a replica of development where replicas of production work.
func besideProduction(foreign []string) error {
	return &config.Error{Problems: []string{fmt.Sprintf(
		"profile (ARAUTO_PROFILE): is development, and replicas of profile production work on this database (%s); give this one a database of its own: database.url (ARAUTO_DATABASE_URL)",
		strings.Join(foreign, ", "))}}
}

// report notes that this replica works on the database, and logs replicas of the other profile. Until one of development has joined, it yields:
// the error is then a *config.Error. One that has joined works on, and each side logs the other.
func (g *Gateway) report(ctx context.Context) error {
	self := g.self()
	self.Yields = g.cfg.Profile == config.Development && !g.joined.Load()
	foreign, err := g.auditlog.ReportReplica(ctx, self)
	switch {
	case err != nil:
		return err
	case self.Yields && len(foreign) > 0:
		return besideProduction(foreign)
	}
	g.joined.Store(true)
	if len(foreign) > 0 {
		g.log.Error("replicas of development and of production work on one database: stop those of development, and check what they did",
			"profile", g.cfg.Profile, "of_the_other", strings.Join(foreign, ", "))
	}
	return nil
}

// keepReporting is report while the replica works. The refusal of one that could not join at its start ends the process.
func (g *Gateway) keepReporting(ctx context.Context) error {
	err := g.report(ctx)
	if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
		g.fail(err)
		return nil
	}
	return err
}

// joinLate joins as soon as the database answers: a replica that starts without it works at once when it is back.
func (g *Gateway) joinLate(ctx context.Context) error {
	if g.joined.Load() {
		return nil
	}
	return g.keepReporting(ctx)
}

// leaveWithin is how long the note that a replica leaves may take: without it the others wait until nobody heard of it for a while.
const leaveWithin = time.Second

// presence is the part that takes the note back when everything else has ended.
func (g *Gateway) presence() lifecycle.Part {
	return lifecycle.Part{Name: "presence", Stop: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, leaveWithin)
		defer cancel()
		_ = g.auditlog.ReplicaLeaves(ctx, g.self()) // see leaveWithin
		return nil
	}}
}

// profiles tells whether replicas of another profile work on the database.
func (e *examination) profiles(ctx context.Context, s *store.Store) {
	foreign, err := auditlog.New(s.Access()).ForeignReplicas(ctx, auditlog.RunningReplica{Profile: e.cfg.Profile})
	switch {
	case err != nil:
		e.notReady("database: %v", err)
	case len(foreign) == 0:
	case e.cfg.Profile == config.Development:
		e.problems.Take(besideProduction(foreign))
	default:
		e.find("WARNING profile: replicas of profile development work on this database: %s", strings.Join(foreign, ", "))
	}
}
