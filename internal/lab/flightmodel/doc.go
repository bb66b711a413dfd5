// Package flightmodel is an executable model of the way of a notification from intake to its last attempt: the transactions
// T1, T2, T3 and the rescue, two replicas, and all that can go wrong between two steps. It is the specification that the
// code in intake, dispatch and store follows (docs/decisions/0019), and a test of it.
//
// It guarantees, for the scopes in its tests, that no order of steps breaks a law of laws.go: every state of small scopes
// is visited, and random runs cover larger ones. Each deliberate fault of world.go breaks a law, so the laws can fail.
//
// It does not model SQL itself, the network below a transaction, the order of lanes, manual attempts, timers, or the jump of
// the database's own clock.
//
// # Rows
//
//	resource  (kind, id) → change_id of the stored change, document, …
//	entry     the history. Each attempt is an entry of kind attempt, whose id is the attempt's id. One that stands in the
//	          commit of its change is called dense.
//	flight    (id, xid, lease_until, unsettled): one row for all dense attempts of one commit. xid is the commit's, so its
//	          members are the entries of kind attempt with this xid. unsettled counts those without result. The row is
//	          deleted with the last result.
//	queue     one row for each notification that waits for its next attempt, or whose attempt was claimed by T2. A
//	          notification is in a flight or in the queue, never in both.
//
// # T1: change, decision, attempt 1
//
// Before: draw the ids of changes, and of attempts and interactions where a slot is reserved, once for the batch. Reserve a
// slot for each change that will leave within milliseconds: a slot is free in its lane's share, the lane is not held,
// notBefore is absent or has passed by our clock, the dispatcher does not drain. Reserving never waits. Note ClaimedAt, by the
// monotonic clock.
//
//	BEGIN                                          now() of this instant is started_at, due_at, and the base of lease_until
//	SELECT … FROM resource … FOR UPDATE            in key order; with it registrations, and now()
//	                                               (judge: a change whose revision is stored is a duplicate. A reservation
//	                                               whose notBefore is after now() of the database does not count. Draw the
//	                                               ids of notifications and of the flight, for this try alone)
//	INSERT INTO entry                              change and decision; attempt 1 where reserved
//	INSERT INTO flight (id, xid, lease_until, unsettled)
//	  VALUES ($1, pg_current_xact_id(), now() + lease, count)      only when something is reserved and new
//	INSERT INTO queue                              what is not reserved; due_at = greatest(now(), notBefore)
//	INSERT / UPDATE resource, revision, timer      (a resource that another T1 has made since: aborted)
//	COMMIT
//
// After:
//
//	confirmed    answer the core, start what this batch recorded, give the other reservations back
//	aborted      nothing is stored: try again, or give the reservations back and refuse
//	unknown      try again with the same ClaimedAt. The lock on a resource waits for the lost transaction. One that is new
//	             has no row to lock, so the next try can be judged before the lost one commits; it is aborted then. A
//	             duplicate with our own change id: a lost try committed, and this replica, and no other, starts its
//	             attempts, with the flight and started_at of the try that drew the id of the stored notification. A
//	             duplicate with another id: it starts nothing
//	given up     refuse, give the reservations back. What the lost try recorded after all is left to the rescue
//
// # Sending
//
//	      T1 confirmed, or T2 confirmed
//	            │
//	        ┌───▼───┐ age of ClaimedAt + time-out > lease: nothing is sent, outcome unknown
//	        │ ready ├─────────────────────────────┐
//	        └───┬───┘                             │
//	first byte  │                                 │
//	        ┌───▼─────┐  answer or time-out   ┌───▼───┐  T3   ┌──────────┐ confirmed
//	        │ sending ├──────────────────────►│ ended ├──────►│ settling ├──────────► slot free
//	        └─────────┘                       └───▲───┘       └────┬─────┘
//	                                              └── aborted, unknown: again
//
// The check and the first byte are one step: the connection refuses the first byte too once no attempt fits into the lease.
// Only the monotonic age counts; the wall clock of a replica decides nothing but whether to reserve.
//
// # T2: claim from the queue
//
// As before, for rows that wait: numbers 2 and 3, and first attempts without reservation. One statement takes due rows of
// lanes that are not held (FOR UPDATE SKIP LOCKED), sets token, lease_until, attempts + 1, and inserts the entry attempt. If
// its answer is lost, nothing is sent, and the rescue settles what it claimed.
//
// # T3: settle
//
//	BEGIN                                          now() − ago is ended_at; ago is measured by the monotonic clock before BEGIN
//	SELECT … FROM flight WHERE id = ANY(…) ORDER BY id FOR UPDATE
//	SELECT … FROM queue WHERE id = ANY(…) ORDER BY id FOR UPDATE
//	(a new statement, so a new snapshot)
//	for each outcome:
//	  an entry result or late-result of this attempt id with the same outcome is there: nothing
//	  flight or token is there: INSERT result;
//	    delivered                 DELETE its queue row, if it has one
//	    third, or registration ended    the same; closes exhausted or cancelled
//	    else                      due_at = ended_at + gap: INSERT queue (attempts 1) for a flight, UPDATE … token = NULL else
//	  neither: INSERT late-result
//	UPDATE flight SET unsettled = unsettled − inserted results; DELETE where it becomes 0
//	COMMIT
//
// All of it is one round trip. After an error the same outcomes are sent again, for the error may hide a commit. It may also
// hide a transaction that has not begun, since the network can keep it back while the next one goes another way. So the first
// T3 of an outcome looks for a result as the others do.
//
// The lock must exclude another T3. With FOR KEY SHARE a repeated T3 does not wait for the lost one, and two T3 of one flight
// do not see each other's results, so none deletes the flight. The look must be a statement after the lock: in the same
// statement it sees the snapshot from before the wait.
//
// # R: rescue
//
//	BEGIN
//	SELECT id, xid FROM flight WHERE lease_until < now() ORDER BY lease_until LIMIT … FOR UPDATE SKIP LOCKED
//	SELECT … FROM queue WHERE token IS NOT NULL AND lease_until < now() … FOR UPDATE SKIP LOCKED
//	(a new statement) attempts with these xid (entry_order) that have no result; the rows of the queue
//	INSERT result, outcome unknown, ended_at = started_at + time-out
//	third, or registration ended: DELETE the queue row, closes
//	else: due_at = ended_at + gap: INSERT queue (attempts 1), or UPDATE … token = NULL
//	DELETE the flights
//	COMMIT
//
// It never sends. What is found is settled, whatever the flight counts.
//
// # Cancel, drain
//
// The row of an ended registration is deleted from the queue while it has no token. A dense attempt of such a registration
// ends by itself; a failure closes it as cancelled.
//
// A replica that drains reserves and claims nothing more. It ends when no batch is in intake, nothing is claimed or held, and
// each outcome is stored: a reservation is owed like an attempt.
//
// # What goes wrong
//
//	crash   a replica loses its memory between any two steps. Its transactions go on at the server, and commit or abort
//	cut     the same for one connection: the replica does not learn whether its transaction commits, or committed
//	abort   the server ends a transaction and says so
//	stall   time passes although something could be done: a process is suspended, the server is slow. Leases run out while
//	        their holder works
//	jump    a replica's wall clock is wrong, ahead or behind
//	miscount a flight counts one attempt too many. One that counts too few is gone before its last result, and what it
//	        leaves is forgotten: nothing but a reconciliation finds that
//	hand-in the core hands a change in again, at any replica, also while the first is under way
//
// A failover of the database is any mix of cuts and aborts.
package flightmodel
