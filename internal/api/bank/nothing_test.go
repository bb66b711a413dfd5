package bank

import (
	"context"
	"io"
	"time"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// Of what a test does not ask about, nothing is known.

func (nothing) Timing(context.Context, notice.ID) (timing.Timing, error) {
	return timing.Timing{}, errMissing
}

func (nothing) Timings(context.Context, timing.Period, func(*timing.Timing) error) error {
	return errMissing
}

func (nothing) LateFirst(context.Context, timing.Period, int) ([]timing.Timing, history.Position, error) {
	return nil, history.Position{}, errMissing
}

func (nothing) LateRetries(context.Context, timing.Period, int) ([]timing.Timing, history.Position, error) {
	return nil, history.Position{}, errMissing
}

func (nothing) LateByClient(context.Context, timing.Period, int) ([]timing.LateClient, error) {
	return nil, errMissing
}

func (nothing) Now(context.Context) (time.Time, error) { return time.Now(), nil }

func (nothing) ClockReport(context.Context, timing.Period, func(*timing.Timing) error) (*timing.ClockReport, error) {
	return nil, errMissing
}

func (nothing) LatestReconciliation(context.Context) (history.Reconciliation, time.Time, error) {
	return history.Reconciliation{}, time.Time{}, errMissing
}

func (nothing) Probe(context.Context, notice.ClientID, string, bool) ([]PreflightStep, string) {
	return nil, ""
}

func (nothing) LogHealth(context.Context) (history.LogHealth, error) {
	return history.LogHealth{}, errMissing
}

func (nothing) AskVerification(context.Context) (history.Verification, error) {
	return history.Verification{}, errMissing
}

func (nothing) Verification(context.Context, time.Time) (history.Verification, error) {
	return history.Verification{}, errMissing
}

func (nothing) WriteCalls(context.Context, string, string, io.Writer) (int64, error) {
	return 0, errMissing
}

func (nothing) Polling(context.Context, time.Time, time.Time) (figures.PollingReport, error) {
	return figures.PollingReport{}, errMissing
}

func (nothing) Figures(context.Context, figures.Ask) (figures.Reading, error) {
	return figures.Reading{}, errMissing
}

func (nothing) Queue(context.Context, notice.ClientID) (history.QueueState, error) {
	return history.QueueState{}, errMissing
}

func (nothing) Find(context.Context, string) (history.Found, error) {
	return history.Found{}, errMissing
}

func (nothing) Settings() []Setting                                  { return nil }
func (nothing) Schema(context.Context) (have, want int64, err error) { return 0, 0, errMissing }
func (nothing) Replicas(context.Context) ([]history.Replica, error)  { return nil, errMissing }

func (nothing) Starts(context.Context, int) ([]history.RecordedStart, []history.RecordedReload, error) {
	return nil, nil, errMissing
}

func (nothing) Reconciliations(context.Context, int) ([]history.RecordedReconciliation, error) {
	return nil, errMissing
}

func (nothing) ReconciliationRuns(context.Context, int) ([]history.ReconciliationRun, error) {
	return nil, errMissing
}

func (nothing) AskReconciliation(context.Context, time.Time, time.Time) (history.ReconciliationRun, error) {
	return history.ReconciliationRun{}, errMissing
}

func (nothing) RequestAct(context.Context, history.ActRequest) (history.ActRequest, error) {
	return history.ActRequest{}, errMissing
}

func (nothing) ActRequests(context.Context, string, history.Position, int) ([]history.ActRequest, error) {
	return nil, nil
}

func (nothing) ActRequest(context.Context, notice.ID) (history.ActRequest, error) {
	return history.ActRequest{}, errMissing
}

func (nothing) DecideRequest(context.Context, notice.ID, history.Actor, bool, string) (history.ActRequest, error) {
	return history.ActRequest{}, errMissing
}

func (nothing) ClaimRequest(context.Context) (*history.ActRequest, error) { return nil, nil }

func (nothing) RequestStep(context.Context, notice.ID, string) (result string, done bool, err error) {
	return "", false, errMissing
}

func (nothing) EndRequest(context.Context, *history.ActRequest) error { return errMissing }
func (nothing) ExpireRequests(context.Context) error                  { return nil }
