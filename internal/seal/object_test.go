package seal

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the protocol's
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/trust"
)

// TestASignatureIsTheOneTheProtocolsAuthorsPublished uses the three requests with their signatures from the description of
// Signature Version 4 for the Authorization header, with the credentials printed there.
func TestASignatureIsTheOneTheProtocolsAuthorsPublished(t *testing.T) {
	s := requestSigner{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1"}
	now := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		method, path, query, body, signature string
		header                               http.Header
	}{
		{
			method: "GET", path: "/test.txt", header: http.Header{"Range": {"bytes=0-9"}},
			signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		{
			method: "PUT", path: "/test$file.text", body: "Welcome to Amazon S3.",
			header:    http.Header{"Date": {"Fri, 24 May 2013 00:00:00 GMT"}, "X-Amz-Storage-Class": {"REDUCED_REDUNDANCY"}},
			signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		{
			method: "GET", path: "/", query: "max-keys=2&prefix=J", header: http.Header{},
			signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		r, err := http.NewRequest(c.method, "https://examplebucket.s3.amazonaws.com"+escapePath(c.path)+"?"+c.query, nil)
		require.NoError(t, err)
		r.Header = c.header
		s.sign(r, []byte(c.body), now)
		require.True(t, strings.HasSuffix(r.Header.Get("Authorization"), "Signature="+c.signature), "%s %s: %s", c.method, c.path, r.Header.Get("Authorization"))
	}
}

// bucket is a store with Object Lock, as far as its protocol is described: it verifies signatures with its own hand,
// refuses what lacks a sum or a lock, and never writes over an object when asked not to.
type bucket struct {
	t       *testing.T
	mu      sync.Mutex
	objects map[string]*object
	puts    int
	lists   int

	refuse   int  // a status to answer instead
	conflict int  // so many conditional puts are answered 409, as while another writes
	reckless bool // ignores If-None-Match
	lockless bool // takes objects and forgets the lock
	discreet bool // tells the lock only to who asks for it
	unlocked bool // the bucket has no Object Lock
}

type object struct {
	body        []byte
	mode, until string
}

const (
	testKeyID  = "AKIATEST"
	testSecret = "secret/with+signs="
	testRegion = "sa-east-1"
)

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
	}
	if b.refuse == http.StatusTemporaryRedirect {
		w.Header().Set("Location", "https://elsewhere.example.com/")
	}
	switch {
	case b.refuse != 0:
		fail(b.refuse, "SlowDown")
		return
	case !b.genuine(r, body):
		fail(http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	key, have := r.URL.Path, b.objects[r.URL.Path]
	if q := r.URL.Query(); q.Get("list-type") == "2" {
		b.list(w, key+"/", q)
		return
	}
	if r.Method == http.MethodGet && r.URL.Query().Has("object-lock") {
		if b.unlocked {
			fail(http.StatusNotFound, "ObjectLockConfigurationNotFoundError")
			return
		}
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`)
		return
	}
	if r.Method == http.MethodGet {
		if have == nil {
			fail(http.StatusNotFound, "NoSuchKey")
			return
		}
		if b.discreet {
			if r.URL.Query().Has("retention") {
				fmt.Fprintf(w, `<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate></Retention>`, have.mode, have.until)
				return
			}
			_, _ = w.Write(have.body)
			return
		}
		w.Header().Set("x-amz-object-lock-mode", have.mode)
		w.Header().Set("x-amz-object-lock-retain-until-date", have.until)
		_, _ = w.Write(have.body)
		return
	}
	sum := md5.Sum(body) //nolint:gosec // the protocol's
	mode, until := r.Header.Get("x-amz-object-lock-mode"), r.Header.Get("x-amz-object-lock-retain-until-date")
	switch date, err := time.Parse(time.RFC3339, until); {
	case r.Method != http.MethodPut:
		fail(http.StatusMethodNotAllowed, "MethodNotAllowed")
	case r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]):
		fail(http.StatusBadRequest, "InvalidRequest") // Object Lock asks for a sum
	case !strings.Contains(key, "/tiles/") && (err != nil || date.Before(time.Now()) || mode != "COMPLIANCE" && mode != "GOVERNANCE"): // only checkpoints are locked
		fail(http.StatusBadRequest, "InvalidRequest")
	case b.conflict > 0:
		b.conflict--
		fail(http.StatusConflict, "ConditionalRequestConflict")
	case have != nil && r.Header.Get("If-None-Match") == "*" && !b.reckless:
		fail(http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		if b.lockless {
			mode, until = "", ""
		}
		b.puts++
		b.objects[key] = &object{body, mode, until}
	}
}

// list answers the first keys of a prefix after one, in the order of their bytes.
func (b *bucket) list(w http.ResponseWriter, bucket string, q url.Values) {
	b.lists++
	most, err := strconv.Atoi(q.Get("max-keys"))
	require.NoError(b.t, err)
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>proofs</Name>`)
	for _, path := range slices.Sorted(maps.Keys(b.objects)) {
		key, inside := strings.CutPrefix(path, bucket)
		if inside && strings.HasPrefix(key, q.Get("prefix")) && key > q.Get("start-after") && most > 0 {
			most--
			fmt.Fprintf(w, "<Contents><Key>%s</Key></Contents>", key)
		}
	}
	fmt.Fprint(w, `</ListBucketResult>`)
}

// genuine verifies the signature with another hand than the product's: from the description, starting at what the request
// itself says was signed.
func (b *bucket) genuine(r *http.Request, body []byte) bool {
	fields := map[string]string{}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	date := r.Header.Get("X-Amz-Date")
	sent, err := time.Parse("20060102T150405Z", date)
	if err != nil || scheme != "AWS4-HMAC-SHA256" || time.Since(sent).Abs() > 15*time.Minute {
		return false
	}
	scope := strings.Join([]string{date[:8], testRegion, "s3", "aws4_request"}, "/")
	digest := sha256.Sum256(body)
	if fields["Credential"] != testKeyID+"/"+scope || r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(digest[:]) {
		return false
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	canonical := r.Method + "\n" + path + "\n" + query + "\n"
	names := map[string]bool{}
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		names[name] = true
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
	}
	for _, must := range []string{"host", "x-amz-date", "x-amz-content-sha256"} {
		if !names[must] {
			return false
		}
	}
	for name := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-") && !names[strings.ToLower(name)] {
			return false // each of these must be signed
		}
	}
	canonical += "\n" + fields["SignedHeaders"] + "\n" + hex.EncodeToString(digest[:])
	hashed := sha256.Sum256([]byte(canonical))
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		_, _ = m.Write([]byte(text))
		return m.Sum(nil)
	}
	key := mac(mac(mac(mac([]byte("AWS4"+testSecret), date[:8]), testRegion), "s3"), "aws4_request")
	return fields["Signature"] == hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hex.EncodeToString(hashed[:])))
}

// openBucket starts a bucket over TLS and the settings that name it.
func openBucket(t *testing.T) (*bucket, *config.Config) {
	t.Helper()
	b := &bucket{t: t, objects: map[string]*object{}}
	server := httptest.NewTLSServer(b)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte(testSecret+"\n"), 0o600))
	cfg := config.Standard()
	s := &cfg.Log.S3
	s.Endpoint, s.CA, s.Region, s.Bucket, s.AccessKeyID, s.SecretKey = server.URL, ca, testRegion, "proofs", testKeyID, secret
	return b, cfg
}

func anchorOf(t *testing.T, cfg *config.Config) *objectAnchor {
	t.Helper()
	o, err := openObjectAnchor(cfg)
	require.NoError(t, err)
	return o
}

func TestACheckpointBecomesAnObjectThatNobodyCanRemove(t *testing.T) {
	b, cfg := openBucket(t)
	o := anchorOf(t, cfg)
	at := time.Date(2026, 11, 21, 12, 0, 5, 0, time.UTC)
	o.now = time.Now
	h := head{size: 42, at: time.Now().Add(-time.Minute), note: []byte("note of 42\n")}
	require.NoError(t, o.put(t.Context(), h))
	kept := b.objects["/proofs/arauto/00000000000000000042"]
	require.NotNil(t, kept, "%v", b.objects)
	require.Equal(t, h.note, kept.body)
	require.Equal(t, "COMPLIANCE", kept.mode)
	until, err := time.Parse(time.RFC3339, kept.until)
	require.NoError(t, err)
	require.WithinDuration(t, h.at.AddDate(5, 0, 0), until, 3*24*time.Hour)

	require.NoError(t, o.put(t.Context(), h), "the same again does no harm")
	require.Equal(t, 1, b.puts)
	require.NoError(t, anchorOf(t, cfg).put(t.Context(), h), "nor does another replica")
	h.note = []byte("note of another log\n")
	require.ErrorIs(t, o.put(t.Context(), h), errOther)
	require.Equal(t, "note of 42\n", string(kept.body))
	require.NoError(t, o.put(t.Context(), head{43, at.AddDate(1, 0, 0), []byte("note of 43\n")}))
	require.Equal(t, 2, b.puts)
}

// TestACosignedCheckpointIsKeptWithEveryNoteOfIt: one replica read it when one witness had vouched, the other when both had.
func TestACosignedCheckpointIsKeptWithEveryNoteOfIt(t *testing.T) {
	b, cfg := openBucket(t)
	at := time.Now()
	one := head{size: 42, at: at, note: []byte("note of 42\n\n— log\n— a\n")}
	both := head{size: 42, at: at, note: []byte("note of 42\n\n— log\n— a\n— b\n")}
	require.NoError(t, anchorOf(t, cfg).cosigned().put(t.Context(), one))
	other := anchorOf(t, cfg).cosigned()
	require.NoError(t, other.put(t.Context(), both))
	require.NoError(t, other.put(t.Context(), one), "the same again does no harm")
	require.NoError(t, other.put(t.Context(), head{size: 43, at: at, note: []byte("note of 43\n")}))
	names := slices.Sorted(maps.Keys(b.objects))
	require.Len(t, names, 3)
	for i, size := range []string{"42", "42", "43"} {
		require.Regexp(t, "^/proofs/arauto/cosigned/0{18}"+size+"-[0-9a-f]{16}$", names[i])
	}
	require.NoError(t, anchorOf(t, cfg).put(t.Context(), head{size: 42, at: at, note: []byte("note of 42\n\n— log\n")}))
	size, err := anchorOf(t, cfg).largest(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, int64(42), size, "the search for the newest checkpoint does not meet them")
}

// TestAStoreThatTellsTheLockOnlyWhenAskedKeepsCheckpoints, and one that tells a lock that is none does not.
func TestAStoreThatTellsTheLockOnlyWhenAskedKeepsCheckpoints(t *testing.T) {
	b, cfg := openBucket(t)
	b.discreet = true
	o := anchorOf(t, cfg)
	require.NoError(t, o.put(t.Context(), head{size: 1, at: time.Now(), note: []byte("note\n")}))
	require.True(t, o.proven)
	b.lockless = true
	require.ErrorIs(t, anchorOf(t, cfg).put(t.Context(), head{size: 2, at: time.Now(), note: []byte("note\n")}), errUnlocked)
}

func TestASecretThatRotatesNeedsNoRestart(t *testing.T) {
	_, cfg := openBucket(t)
	o := anchorOf(t, cfg)
	require.NoError(t, os.WriteFile(cfg.Log.S3.SecretKey, []byte("old"), 0o600))
	h := head{size: 1, at: time.Now(), note: []byte("note\n")}
	require.ErrorContains(t, o.put(t.Context(), h), "403 SignatureDoesNotMatch: no")
	require.NoError(t, os.WriteFile(cfg.Log.S3.SecretKey, []byte(testSecret), 0o600))
	require.NoError(t, o.put(t.Context(), h))
	require.NoError(t, os.Remove(cfg.Log.S3.SecretKey))
	require.ErrorContains(t, o.put(t.Context(), head{size: 2, at: time.Now(), note: []byte("note\n")}), "log.anchor_s3.secret_key_file")
}

// TestAStoreIsTriedBeforeServeStarts: nothing is written, and what refuses is a warning.
func TestAStoreIsTriedBeforeServeStarts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bucket, *config.Config)
		want   string
	}{
		"good":           {func(*bucket, *config.Config) {}, "log.anchor_s3: the store answers, and the bucket has Object Lock"},
		"no Object Lock": {func(b *bucket, _ *config.Config) { b.unlocked = true }, "WARNING log.anchor_s3: the bucket has no Object Lock"},
		"refuses":        {func(b *bucket, _ *config.Config) { b.refuse = 403 }, "WARNING log.anchor_s3: the object store answered 403 SlowDown: no"},
		"nobody there":   {func(_ *bucket, c *config.Config) { c.Log.S3.Endpoint = "https://127.0.0.1:1" }, "WARNING log.anchor_s3: dial tcp 127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, cfg := openBucket(t)
			c.change(b, cfg)
			findings := Findings(t.Context(), cfg)
			require.Len(t, findings, 1)
			require.Contains(t, findings[0], c.want)
			require.Zero(t, b.puts)
		})
	}
}

// TestTheKeyOfTheLogIsShownAsVerifiersTakeIt, or why it cannot be read.
func TestTheKeyOfTheLogIsShownAsVerifiersTakeIt(t *testing.T) {
	cfg := config.Standard()
	cfg.Log.Key = filepath.Join(t.TempDir(), "log.key")
	_, err := New(cfg, nil, slog.New(slog.DiscardHandler), nil)
	require.ErrorContains(t, err, "log.key (ARAUTO_LOG_KEY): ")
	require.Empty(t, Findings(t.Context(), cfg))
	key, err := makeLogKey(cfg.Log.Key)
	require.NoError(t, err)
	findings := Findings(t.Context(), cfg)
	require.Len(t, findings, 1)
	_, vkey, _ := strings.Cut(findings[0], "(vkey): ")
	verifier, err := note.NewVerifier(vkey)
	require.NoError(t, err)
	signed, err := key.Sign(audit.Checkpoint{Size: 3})
	require.NoError(t, err)
	_, err = note.Open(signed, note.VerifierList(verifier))
	require.NoError(t, err, "a verifier of anybody's opens our checkpoints with it")
}

func TestAnObjectStoreThatFailsOrDeceivesIsToldFrom(t *testing.T) {
	h := head{size: 1, at: time.Now(), note: []byte("note\n")}
	for name, c := range map[string]struct {
		change func(*bucket, *config.Config)
		want   string
	}{
		"busy":             {func(b *bucket, _ *config.Config) { b.refuse = 503 }, "the object store answered 503 SlowDown"},
		"redirects":        {func(b *bucket, _ *config.Config) { b.refuse = 307 }, "the object store answered 307 SlowDown"},
		"forgets the lock": {func(b *bucket, _ *config.Config) { b.lockless = true }, errUnlocked.Error()},
		"another secret": {func(_ *bucket, c *config.Config) {
			require.NoError(t, os.WriteFile(c.Log.S3.SecretKey, []byte("other"), 0o600))
		}, "the object store answered 403 SignatureDoesNotMatch"},
		"another region":       {func(_ *bucket, c *config.Config) { c.Log.S3.Region = "us-east-1" }, "the object store answered 403 SignatureDoesNotMatch"},
		"an unknown authority": {func(_ *bucket, c *config.Config) { c.Log.S3.CA = "" }, "certificate"},
		"nobody there":         {func(_ *bucket, c *config.Config) { c.Log.S3.Endpoint = "https://127.0.0.1:1" }, "connect"},
	} {
		t.Run(name, func(t *testing.T) {
			b, cfg := openBucket(t)
			c.change(b, cfg)
			err := anchorOf(t, cfg).put(t.Context(), h)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), testSecret)
		})
	}
}

// TestAConflictIsAnotherReplicaThatWrites: what it wrote is compared, and what it did not write is written.
func TestAConflictIsAnotherReplicaThatWrites(t *testing.T) {
	b, cfg := openBucket(t)
	o := anchorOf(t, cfg)
	first := head{size: 1, at: time.Now(), note: []byte("note of 1\n")}
	b.conflict = 2
	require.NoError(t, o.put(t.Context(), first))
	require.Equal(t, "note of 1\n", string(b.objects["/proofs/arauto/00000000000000000001"].body))

	second := head{size: 2, at: time.Now(), note: []byte("note of 2\n")}
	require.NoError(t, anchorOf(t, cfg).put(t.Context(), second)) // another replica was faster
	b.conflict = 1
	require.NoError(t, o.put(t.Context(), second))
	second.note = []byte("note of another log\n")
	b.conflict = 1
	require.ErrorIs(t, o.put(t.Context(), second), errOther)

	b.conflict = 100
	require.ErrorContains(t, o.put(t.Context(), head{size: 3, at: time.Now(), note: []byte("note of 3\n")}), "409")
}

// TestAStoreThatOverwritesIsNoticed, and takes no other checkpoint of ours under a name that it holds.
func TestAStoreThatOverwritesIsNoticed(t *testing.T) {
	b, cfg := openBucket(t)
	o := anchorOf(t, cfg)
	var log bytes.Buffer
	o.log = slog.New(slog.NewTextHandler(&log, nil))
	require.NoError(t, o.put(t.Context(), head{size: 1, at: time.Now(), note: []byte("note of 1\n")}))
	require.Empty(t, log.String())

	b.reckless = true
	fresh := anchorOf(t, cfg)
	fresh.log = o.log
	require.ErrorIs(t, fresh.put(t.Context(), head{size: 1, at: time.Now(), note: []byte("note of another log\n")}), errOther, "also the first one of a process")
	require.NoError(t, fresh.put(t.Context(), head{size: 2, at: time.Now(), note: []byte("note of 2\n")}))
	require.Equal(t, 1, strings.Count(log.String(), "ignores If-None-Match"))
	require.NoError(t, fresh.put(t.Context(), head{size: 2, at: time.Now(), note: []byte("note of 2\n")}))
	require.ErrorIs(t, fresh.put(t.Context(), head{size: 2, at: time.Now(), note: []byte("note of another log\n")}), errOther)
	require.Equal(t, "note of 1\n", string(b.objects["/proofs/arauto/00000000000000000001"].body))
	require.Equal(t, "note of 2\n", string(b.objects["/proofs/arauto/00000000000000000002"].body))
	require.Equal(t, 1, strings.Count(log.String(), "ignores If-None-Match"))
}

// TestAnObjectStoreThatHangsIsGivenUp within the anchor's own patience, here shortened by the caller's.
func TestAnObjectStoreThatHangsIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	}))
	defer server.Close()
	defer close(release)
	_, cfg := openBucket(t)
	cfg.Profile, cfg.Log.S3.Endpoint = config.Development, server.URL
	require.NoError(t, os.Chmod(cfg.Log.S3.SecretKey, 0o600))
	o := anchorOf(t, cfg)
	require.Equal(t, anchorTimeout, o.client.Timeout)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, o.put(ctx, head{1, time.Now(), []byte("x")}), context.DeadlineExceeded)
}

func TestTheSecretOfTheObjectStoreIsReadableByItsOwnerOnly(t *testing.T) {
	_, cfg := openBucket(t)
	require.NoError(t, os.Chmod(cfg.Log.S3.SecretKey, 0o644))
	_, err := openObjectAnchor(cfg)
	require.ErrorContains(t, err, "log.anchor_s3.secret_key_file (ARAUTO_LOG_ANCHOR_S3_SECRET_KEY_FILE): ")
	require.ErrorContains(t, err, "set it to 0600")
}

// TestTheAddressOfAnAnchorIsNotRepeatedInErrors: it may hold a token.
func TestTheAddressOfAnAnchorIsNotRepeatedInErrors(t *testing.T) {
	u := &urlAnchor{"https://127.0.0.1:1/hook?token=sesame", trust.NewAnchorClient(nil, anchorTimeout)}
	err := u.put(t.Context(), head{1, time.Now(), []byte("x")})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "sesame")
}
