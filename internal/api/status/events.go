package status

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// The bounds of a feed's parameters.
const (
	defaultEvents = 100
	maxEvents     = 1000
	maxWait       = 30 // seconds
)

type eventsJSON struct {
	Events     []eventJSON `json:"events"`
	NextCursor string      `json:"nextCursor"`
}

// eventsAsked are the parameters of a feed.
type eventsAsked struct {
	history.FeedQuery
	wait time.Duration
}

// readEvents reads the parameters of a feed, but for the cursor.
func readEvents(values url.Values, client notice.ClientID) (eventsAsked, error) {
	asked := eventsAsked{FeedQuery: history.FeedQuery{Client: client, Limit: defaultEvents}}
	if err := onlyNames(values, "after", "limit", "wait", "missed"); err != nil {
		return asked, err
	}
	limit, err := whole(values, "limit", 1, maxEvents)
	if err != nil {
		return asked, err
	}
	wait, err := whole(values, "wait", 0, maxWait)
	if err != nil {
		return asked, err
	}
	missed, err := one(values, "missed")
	if err != nil || missed != "" && missed != "true" && missed != "false" {
		return asked, because(refParameter, "missed is neither true nor false")
	}
	if values.Has("limit") {
		asked.Limit = limit
	}
	asked.wait, asked.Missed = time.Duration(wait)*time.Second, missed == "true"
	return asked, nil
}

// whole reads a parameter that is a whole number; 0 when it is absent.
func whole(values url.Values, name string, least, most int) (int, error) {
	text, err := one(values, name)
	if err != nil || text == "" && !values.Has(name) {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, because(refParameter, name+" is out of range")
	}
	return n, nil
}

// getEvents answers with what follows a cursor. With wait it holds the line until there is something.
func (p *Public) getEvents(x *api.Exchange, op *extensionCall) error {
	who, self, values, err := p.opened(x, op)
	if err != nil {
		return err
	}
	asked, err := readEvents(values, queryOf(x).poll.Client)
	if err != nil {
		return err
	}
	seal, err := p.feedSeal(x.R.Context(), &asked)
	if err != nil {
		return err
	}
	cursor, err := one(values, "after")
	if err != nil {
		return err
	}
	if cursor != "" {
		if asked.After, err = seal.open(cursor); err != nil {
			return because(refParameter, "not a cursor of this feed")
		}
	}
	page, ended, err := p.awaitEvents(x, &asked)
	if err != nil {
		return err
	}
	if ended {
		return p.nothing(x)
	}
	out := eventsJSON{Events: []eventJSON{}, NextCursor: seal.seal(page.Next)}
	for i := range page.Records {
		out.Events = append(out.Events, eventOf(&page.Records[i]))
	}
	queryOf(x).poll.Facts.Items = len(out.Events)
	p.cfg.Extension.observed().Listed(asked.Missed, len(out.Events))
	return p.tell(x, self, who.OrganisationID, out)
}

// awaitEvents reads what follows a place, and waits for it when it may; ended says that the time was over first.
func (p *Public) awaitEvents(x *api.Exchange, asked *eventsAsked) (page history.FeedPage, ended bool, err error) {
	key := feedKey{asked.Client, asked.Missed}
	until := time.Now().Add(asked.wait)
	for {
		news, quiet := p.watch.stillQuiet(key, asked.After, asked.wait > 0)
		if !quiet {
			if page, err = p.readFeed(x, asked.FeedQuery); err != nil || len(page.Records) > 0 || page.More || asked.wait == 0 {
				return page, false, err
			}
			if news, quiet = p.watch.join(key, asked.After, page.Through); !quiet {
				continue // the watch has looked further meanwhile
			}
		}
		told, err := p.hold(x, news, until)
		if err != nil || !told {
			return page, !told, err
		}
	}
}

func (p *Public) readFeed(x *api.Exchange, q history.FeedQuery) (history.FeedPage, error) {
	ctx, cancel := context.WithTimeout(x.R.Context(), readWithin)
	defer cancel()
	end, err := p.reads.begin(ctx, queryOf(x).caller.OrganisationID)
	if err != nil {
		return history.FeedPage{}, err
	}
	defer end()
	return p.cfg.Extension.Feed.Feed(ctx, q)
}

// hold waits for news of a feed. While it waits the call counts among those that wait, and not among those under way. told is false when the
// time is over, when the caller has gone, or when this replica stops.
func (p *Public) hold(x *api.Exchange, news <-chan struct{}, until time.Time) (told bool, err error) {
	q := queryOf(x)
	defer p.watch.leave()
	if !p.limits.pause(q.usage) {
		p.observer.Shed(limitWaiting)
		return false, because(refOverload, limitWaiting)
	}
	observer := p.cfg.Extension.observed()
	observer.Waiting(1)
	rc := http.NewResponseController(x.W)
	latest := until.Add(answerWithin + headerWithin)
	_, _ = rc.SetReadDeadline(latest), rc.SetWriteDeadline(latest) // a failure leaves the server's own, which end the call early
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-news:
		told = true
	case <-timer.C:
		err = p.watch.failure()
	case <-q.whole.Done():
	case <-p.leaving:
	}
	observer.Waiting(-1)
	p.limits.resume(q.usage)
	ctx, cancel := context.WithTimeout(q.whole, answerWithin)
	context.AfterFunc(q.whole, cancel)
	x.R = x.R.WithContext(context.WithValue(ctx, queryKey{}, q)) // what is left to do has its own time
	return told, err
}

// budgetEmpty is for long polls of one client that ended without news.
var budgetEmpty = refusalBudget{1, time.Minute}

// nothing ends a long poll without news. The first of a minute is recorded with the number of those since the last record.
func (p *Public) nothing(x *api.Exchange) error {
	q := queryOf(x)
	q.describe(x, http.StatusNoContent, nil)
	if !p.refused.hold("empty "+string(q.poll.Client), budgetEmpty, &q.poll, time.Now()) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), time.Second)
		defer cancel()
		if err := p.cfg.Polls.Record(ctx, q.poll); err != nil {
			return errors.Join(errUnrecordable, err)
		}
	}
	p.observer.Polled(0, http.StatusNoContent, "")
	noteQuery(x, http.StatusNoContent, "")
	x.W.Header().Set(interactionHeader, q.id)
	x.W.WriteHeader(http.StatusNoContent)
	return nil
}

// feedSeal seals places of one feed. A cursor is encrypted, since the numbers of transactions would tell how much the bank does, and
// bound to its client and feed.
type feedSeal struct {
	aead cipher.AEAD
	feed []byte
}

func (p *Public) feedSeal(ctx context.Context, asked *eventsAsked) (*feedSeal, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	key, err := p.cfg.Extension.Feed.CursorKey(ctx)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("arauto cursor of a feed"))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &feedSeal{aead, []byte(strconv.FormatBool(asked.Missed) + " " + string(asked.Client))}, nil
}

const feedPlaceSize = 8 + 16 + 8

func (s *feedSeal) seal(at history.FeedPlace) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, feedPlaceSize), uint64(at.XID))
	b = append(b, at.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.At.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, b, s.feed)) //nolint:gosec // this AEAD draws a random nonce for each cursor
}

func (s *feedSeal) open(cursor string) (history.FeedPlace, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return history.FeedPlace{}, err
	}
	b, err := s.aead.Open(nil, nil, sealed, s.feed)
	if err != nil || len(b) != feedPlaceSize {
		return history.FeedPlace{}, errors.Join(errors.New("not a cursor of this feed"), err)
	}
	return history.FeedPlace{
		XID: int64(binary.BigEndian.Uint64(b)), ID: notice.ID(b[8:24]), At: time.UnixMicro(int64(binary.BigEndian.Uint64(b[24:]))).UTC(),
	}, nil
}
