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
	by, err := p.reader(x, op)
	if err != nil {
		return err
	}
	self, values, err := p.self(x)
	if err != nil {
		return err
	}
	asked, err := readEvents(values, queryOf(x).poll.Client)
	if err != nil {
		return err
	}
	cursor, err := one(values, "after")
	if err != nil {
		return err
	}
	if cursor != "" {
		seal, err := p.feedSeal(x.R.Context(), &asked)
		if err != nil {
			return err
		}
		if asked.After, err = seal.open(cursor); err != nil {
			return because(refParameter, "not a cursor of this feed")
		}
	}
	return p.answerOrWait(x, &feedCall{asked, by, self, time.Now().Add(asked.wait)})
}

// feedCall is one call for a feed, with all that its answer needs.
type feedCall struct {
	asked eventsAsked
	by    *feedReader
	self  string
	until time.Time // the end of its wait
}

// tellEvents answers with a page.
func (p *Public) tellEvents(x *api.Exchange, c *feedCall, page *history.FeedPage) error {
	seal, err := p.feedSeal(x.R.Context(), &c.asked)
	if err != nil {
		return err
	}
	out := eventsJSON{Events: []eventJSON{}, NextCursor: seal.seal(page.Next)}
	for i := range page.Records {
		out.Events = append(out.Events, eventOf(&page.Records[i]))
	}
	queryOf(x).poll.Facts.Items = len(out.Events)
	p.cfg.Extension.observed().Listed(c.asked.Missed, len(out.Events))
	return p.tell(x, c.self, c.by.who.OrganisationID, out)
}

// feedReader is who calls for a feed.
type feedReader struct {
	op    *extensionCall
	who   *notice.Initiator
	fresh bool // the database was asked in this call, and not since a wait
}

// reader judges the caller by what the watch knows of its registration, or else by the database.
func (p *Public) reader(x *api.Exchange, op *extensionCall) (*feedReader, error) {
	by := &feedReader{op: op}
	client := queryOf(x).poll.Client
	who, through := p.watch.registration(client)
	if who == nil {
		if err := p.refresh(x, by); err != nil {
			return nil, err
		}
		p.watch.keepRegistration(client, by.who, through)
		return by, nil
	}
	by.who = who
	if err := p.recordable(x, op); err != nil {
		return nil, err
	}
	return by, queryOf(x).judge(who)
}

// refresh judges the caller by the database.
func (p *Public) refresh(x *api.Exchange, by *feedReader) (err error) {
	by.who, err = p.caller(x, by.op)
	by.fresh = err == nil
	return err
}

// answerOrWait answers with what follows a place, or leaves the exchange until something does, when it may wait for it. What has changed
// since about the caller is judged before it is told anything.
func (p *Public) answerOrWait(x *api.Exchange, c *feedCall) error {
	key := feedKey{c.asked.Client, c.asked.Missed}
	for {
		if news, quiet := p.watch.stillQuiet(key, c.asked.After, c.asked.wait > 0); quiet {
			return p.park(x, c, news)
		}
		if !c.by.fresh {
			if err := p.refresh(x, c.by); err != nil {
				return err
			}
		}
		page, err := p.readFeed(x, c.asked.FeedQuery)
		if err != nil {
			return err
		}
		if len(page.Records) > 0 || page.More || c.asked.wait == 0 {
			return p.tellEvents(x, c, &page)
		}
		if news, quiet := p.watch.join(key, c.asked.After, page.Through); quiet {
			return p.park(x, c, news)
		} // else the watch has looked further meanwhile
	}
}

func (p *Public) readFeed(x *api.Exchange, q history.FeedQuery) (history.FeedPage, error) {
	ctx, cancel := context.WithTimeout(x.R.Context(), historyWithin)
	defer cancel()
	end, err := p.reads.begin(ctx, queryOf(x).caller.OrganisationID)
	if err != nil {
		return history.FeedPage{}, err
	}
	defer end()
	return p.cfg.Extension.Feed.Feed(ctx, q)
}

// budgetEmpty is for long polls of one client that ended without news.
var budgetEmpty = refusalBudget{each: 1, within: time.Minute, goesOn: true}

// nothing ends a long poll without news. The first is recorded before its answer; those that follow are counted, and the last of each minute
// is recorded with their number.
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
