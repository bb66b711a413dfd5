package webhook

import (
	"bytes"
	"context"
	"fmt"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Preview writes the request that Send would make of an attempt, byte for byte as it would leave, and the URL it would go
// to, without sending anything. Of the configuration it uses Version, AuthorisationServerID, ASHeaders and Guard; an
// address that may not be dialled is an error.
func Preview(c Config, n notice.Attempt) (url string, wire []byte, err error) {
	s := &Sender{guard: c.Guard}
	s.dress(c)
	if s.guard == nil {
		s.guard = NewGuard(nil, nil)
	}
	path := ofb.Path(n.Kind, n.APIVersion, n.ResourceID)
	t, err := parseBase(n.BaseURI)
	if err == nil {
		err = s.guard.CheckHost(t.host, t.port)
	}
	if err != nil {
		return "", nil, fmt.Errorf("the registered address: %w", err)
	}
	var out bytes.Buffer
	if err := s.request(context.Background(), &attempt{notice: n}, t, t.path+path).Write(&out); err != nil {
		return "", nil, fmt.Errorf("write the request: %w", err)
	}
	return n.BaseURI + path, out.Bytes(), nil
}
