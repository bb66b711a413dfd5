package webhook

import (
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
)

// Preview writes the request that Send would make of an attempt, byte for byte as it would leave, and the URL it would go
// to, without sending anything. Of the configuration it uses Version, AuthorisationServerID, ASHeaders, Brands and Guard; an
// address that may not be dialled is an error.
func Preview(c Config, n notice.Attempt) (url string, wire []byte, err error) {
	s := &Sender{cfg: c.withDefaults()}
	s.dress()
	a, err := s.newAttempt(n)
	if err == nil && s.holders[brand.Of(n.Client)] == nil {
		err = ErrBrand
	}
	if err == nil {
		err = s.cfg.Guard.CheckHost(a.target.host, a.target.port)
	}
	if err != nil {
		return "", nil, err
	}
	return a.url, s.appendRequest(nil, a), nil
}
