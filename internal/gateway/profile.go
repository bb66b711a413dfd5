package gateway

import (
	"context"
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

// join notes before anything else that this replica works on the database. The error is a *config.Error where it must not: one of development
// may send to other addresses, and judges statements and settings less strictly.
func (g *Gateway) join(ctx context.Context) error {
	self := g.self()
	self.Yields = g.cfg.Profile == config.Development
	foreign, err := g.auditlog.ReportReplica(ctx, self)
	if err == nil && self.Yields && len(foreign) > 0 {
		err = besideProduction(foreign)
	}
	return err
}

// report notes that this replica still works. It ends nobody who works already: both sides of development and production tell of the other.
func (g *Gateway) report(ctx context.Context) error {
	foreign, err := g.auditlog.ReportReplica(ctx, g.self())
	if len(foreign) > 0 {
		g.log.Error("replicas of development and of production work on one database: stop those of development, and look what they did",
			"profile", g.cfg.Profile, "of_the_other", strings.Join(foreign, ", "))
	}
	return err
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
