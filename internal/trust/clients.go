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

// newFetcher reads public things over https. Its dialer is guarded like the sender's, so that no address in a document
// from outside can make us call an inside machine; the bank's own addresses are named in webhook.allow_networks in
// development, and are files in production.
func newFetcher(cfg *config.Config) *http.Client {
	allow, _ := cfg.Allowed() // judged by Check
	// Lists and responders are read over plain http as well: what they say is signed.
	guard := webhook.NewGuard(allow, slices.Concat(cfg.Webhook.AllowPorts, []uint16{80, 443}))
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: guard.Control}
	return newClient(10*time.Second, &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: mtls.PublicConfig(nil), TLSHandshakeTimeout: 5 * time.Second,
		ResponseHeaderTimeout: 5 * time.Second, IdleConnTimeout: 30 * time.Second,
	})
}

// newAsker asks the bank's own authorization server over mTLS with our BRCAC. Its address is configuration, not data from
// outside, so it may be an inside one.
func (t *Trust) newAsker(cfg *config.Config) (*http.Client, error) {
	roots := t.Roots
	if cfg.Tokens.IntrospectionCA != "" {
		var err error
		if roots, err = mtls.LoadAnchors(cfg.Tokens.IntrospectionCA); err != nil {
			return nil, err
		}
	}
	return newClient(3*time.Second, &http.Transport{
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, TLSClientConfig: mtls.ClientConfig(t.Client, roots, ""),
		IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 64,
	}), nil
}
