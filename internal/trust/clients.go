package trust

import (
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/webhook"
)

// newClient makes a client that follows no redirection, uses no proxy of the environment, and bounds what it reads of heads.
func newClient(timeout time.Duration, t *http.Transport) *http.Client {
	t.MaxResponseHeaderBytes, t.DisableCompression = 64<<10, true
	return &http.Client{
		Timeout: timeout, Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newFetcher makes the client that reads key sets, revocation lists and answers of responders. Its dialer is guarded like the
// sender's, so that an address in a document from outside cannot lead to a machine inside.
func newFetcher(cfg *config.Config) *http.Client {
	allow, _ := cfg.Allowed()                                                                  // judged by Check
	guard := webhook.NewGuard(allow, slices.Concat(cfg.Webhook.AllowPorts, []uint16{80, 443})) // port 80: lists and answers of responders are signed
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: guard.Control}
	return newClient(10*time.Second, &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: mtls.PublicConfig(nil), TLSHandshakeTimeout: 5 * time.Second,
		ResponseHeaderTimeout: 5 * time.Second, IdleConnTimeout: 30 * time.Second,
	})
}

// newAsker makes the client that asks a brand's authorization server, with the brand's BRCAC. The address is a setting, so it may be
// inside.
func (t *Trust) newAsker(b *Brand) (*http.Client, error) {
	roots := t.Roots
	if b.Tokens.IntrospectionCA != "" {
		var err error
		if roots, err = mtls.LoadAnchors(b.Tokens.IntrospectionCA); err != nil {
			return nil, err
		}
	}
	return newClient(3*time.Second, &http.Transport{
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, TLSClientConfig: mtls.ClientConfig(b.Client, roots, ""),
		IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 64,
	}), nil
}

// NewAnchorClient makes a client for an address of the settings, which may be inside: checkpoints are delivered with it, and the
// console's OpenID provider is asked. roots may be nil for
// the system's trust store. within bounds a request.
func NewAnchorClient(roots *mtls.Anchors, within time.Duration) *http.Client {
	return newClient(within, &http.Transport{
		DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, TLSClientConfig: mtls.PublicConfig(roots), IdleConnTimeout: 60 * time.Second,
	})
}
