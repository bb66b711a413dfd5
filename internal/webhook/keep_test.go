package webhook

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatKeepAliveAnnouncesIsRead(t *testing.T) {
	for value, want := range map[string]keepAlive{
		"timeout=5":                {timeout: 5 * time.Second, hasTimeout: true},
		"timeout=5, max=100":       {timeout: 5 * time.Second, hasTimeout: true, max: 100, hasMax: true},
		" Max = 1 ,TIMEOUT=\"20\"": {timeout: 20 * time.Second, hasTimeout: true, max: 1, hasMax: true},
		"timeout=0":                {hasTimeout: true},
		"timeout=-1":               {},
		"timeout=1.5":              {},
		"timeout":                  {},
		"timeout=99999999999999":   {},
		"300":                      {},
		"":                         {},
		"x=1,,max=2":               {max: 2, hasMax: true},
	} {
		var got keepAlive
		got.parse(value)
		require.Equal(t, want, got, "%q", value)
	}
}

func TestTheAnswerKeepsWhatItsFinalHeadersAnnounce(t *testing.T) {
	for text, want := range map[string]keepAlive{
		"HTTP/1.1 202 Accepted\r\nkeep-alive: timeout=5\r\nKeep-Alive: max=7\r\n\r\n":                 {5 * time.Second, 7, true, true},
		"HTTP/1.1 103 Early\r\nKeep-Alive: timeout=1\r\n\r\nHTTP/1.1 202 OK\r\nConnection: x\r\n\r\n": {},
	} {
		var a answer
		_, err := a.feed([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, a.keep, "%q", text)
	}
}

// A kept connection is used within the narrowest of all limits, and the reason names that one.
func TestAKeptConnectionIsUsedWithinItsNarrowestLimit(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	for name, c := range map[string]struct {
		change func(*kept)
		seen   time.Duration // the receiver's limit as it was learned
		until  time.Duration
		why    CloseReason
	}{
		"our idle limit":               {func(*kept) {}, 0, 15 * time.Second, ClosedIdle},
		"idle since the last answer":   {func(k *kept) { k.quiet = at(20 * time.Second) }, 0, 35 * time.Second, ClosedIdle},
		"age, however busy":            {func(k *kept) { k.ends = at(50 * time.Second); k.quiet = at(45 * time.Second) }, 0, 50 * time.Second, ClosedAge},
		"announced 5 s":                {func(k *kept) { k.answered(told(5)) }, 0, 4 * time.Second, ClosedKeepAlive},
		"announced 1 s":                {func(k *kept) { k.answered(told(1)) }, 0, 500 * time.Millisecond, ClosedKeepAlive},
		"announced 0 s":                {func(k *kept) { k.answered(told(0)) }, 0, 0, ClosedKeepAlive},
		"announced more than ours":     {func(k *kept) { k.answered(told(75)) }, 0, 15 * time.Second, ClosedIdle},
		"the last announcement counts": {func(k *kept) { k.answered(told(2)); k.answered(told(10)) }, 0, 8 * time.Second, ClosedKeepAlive},
		"learned":                      {func(*kept) {}, 6 * time.Second, 4 * time.Second, ClosedKeepAlive},
		"learned and announced":        {func(k *kept) { k.answered(told(2)) }, 5 * time.Second, 1500 * time.Millisecond, ClosedKeepAlive},
		"one request left":             {func(k *kept) { k.answered(keepAlive{max: 1, hasMax: true}) }, 0, 15 * time.Second, ClosedIdle},
		"no request left":              {func(k *kept) { k.answered(keepAlive{hasMax: true}) }, 0, 0, ClosedKeepAlive},
		"the count is kept when an answer is silent": {func(k *kept) {
			k.answered(keepAlive{max: 1, hasMax: true})
			k.answered(keepAlive{})
		}, 0, 0, ClosedKeepAlive},
		"ended from outside": {func(k *kept) { k.ended = ClosedFault }, 0, 0, ClosedFault},
	} {
		k := newKept(start, defaultKeepLimits)
		k.ends = at(defaultKeepLimits.age)
		c.change(&k)
		require.Equal(t, c.why, k.unfit(at(c.until), c.seen), name)
		if c.until > 0 {
			require.Empty(t, k.unfit(at(c.until-1), c.seen), name)
		}
	}
}

func told(seconds int) keepAlive {
	return keepAlive{timeout: time.Duration(seconds) * time.Second, hasTimeout: true}
}

func TestConnectionsOfOneBurstDoNotEndTogether(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	ends := map[time.Time]bool{}
	for range 100 {
		k := newKept(start, defaultKeepLimits)
		require.False(t, k.ends.After(start.Add(60*time.Second)))
		require.True(t, k.ends.After(start.Add(45*time.Second)))
		ends[k.ends] = true
	}
	require.Greater(t, len(ends), 90)
}

func ports(list []netip.Addr) (out []netip.AddrPort) {
	for _, a := range list {
		out = append(out, netip.AddrPortFrom(a, 443))
	}
	return out
}

func TestFamiliesTakeTurnsAndAddressesThatFailedComeLast(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := new(peerHabits)
	list := ports(addrs("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"))
	require.Equal(t, ports(addrs("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3")), h.order(now, list))
	h.failed(now, netip.MustParseAddr("2001:db8::1"))
	h.failed(now, netip.MustParseAddr("::ffff:192.0.2.1"))
	require.Equal(t, ports(addrs("2001:db8::2", "192.0.2.2", "2001:db8::3", "2001:db8::1", "192.0.2.1")), h.order(now.Add(59*time.Second), list))
	require.Equal(t, ports(addrs("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3")), h.order(now.Add(time.Minute), list))
}

// However many addresses are dead, the live one is among those that are tried: the cut comes after the order.
func TestTheCutKeepsTheOtherFamilyAndTheAddressesNotTriedYet(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := new(peerHabits)
	var list []netip.Addr
	first := netip.MustParseAddr("2001:db8::1")
	for a := first; len(list) < 2*maxAddresses; a = a.Next() {
		list = append(list, a)
	}
	live := netip.MustParseAddr("192.0.2.1")
	tried := h.order(now, ports(append(list, live)))
	require.Len(t, tried, maxAddresses)
	require.Equal(t, live, tried[1].Addr())
	last := list[len(list)-1]
	tried = h.order(now, ports(list))
	require.NotContains(t, tried, netip.AddrPortFrom(last, 443))
	for _, at := range tried {
		h.failed(now, at.Addr())
	}
	require.Contains(t, h.order(now, ports(list)), netip.AddrPortFrom(last, 443), "the next attempt tries the others")
}

func TestAnAddressIsGoneWhenNoAnswerHadItForAWhile(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	old, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	lacks := func(h *peerHabits, s int) bool { return h.lacks(old, at(s), 30*time.Second) }
	h := new(peerHabits)
	require.False(t, lacks(h, 0), "nothing is known yet")
	require.False(t, h.askAgain(at(0), 30*time.Second), "the dial asks")
	h.answered(at(0), []netip.Addr{old})
	require.False(t, lacks(h, 300), "no answer is no answer without it: the name server may be down")
	h.answered(at(10), []netip.Addr{other})
	require.False(t, lacks(h, 29), "a name may answer with its addresses in turn")
	require.True(t, lacks(h, 30))
	h.answered(at(31), []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")})
	require.False(t, lacks(h, 31))

	require.False(t, h.askAgain(at(60), 30*time.Second))
	require.True(t, h.askAgain(at(61), 30*time.Second))
	require.False(t, h.askAgain(at(62), 30*time.Second), "one question at a time")
}

func TestAReceiversIdleLimitIsLearnedAndForgotten(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := new(peerHabits)
	h.endedAfter(now, 300*time.Millisecond)
	require.Zero(t, h.idleLimit(now), "ended for another reason")
	h.endedAfter(now, 5*time.Second)
	h.endedAfter(now.Add(time.Second), 6*time.Second)
	require.Equal(t, 5*time.Second, h.idleLimit(now.Add(time.Minute)), "the shortest counts")
	require.Zero(t, h.idleLimit(now.Add(forgetHabit)))
	h.endedAfter(now.Add(forgetHabit), 6*time.Second)
	require.Equal(t, 6*time.Second, h.idleLimit(now.Add(forgetHabit)))
}

func TestAReceiverThatEndsEveryConnectionAfterOneAnswerIsLearned(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := new(peerHabits)
	h.endedAtOnce(now)
	h.reused()
	h.endedAtOnce(now)
	require.Zero(t, h.idleLimit(now), "a second answer shows that it keeps connections")
	h.endedAtOnce(now)
	k := newKept(now, defaultKeepLimits)
	require.Equal(t, ClosedKeepAlive, k.unfit(now, h.idleLimit(now)))
	require.Zero(t, h.idleLimit(now.Add(hastyFor)))
}
