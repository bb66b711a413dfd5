package mtls

import (
	"errors"
	"fmt"
	"net/url"
)

// shownAddresses gives each address the form in which people are shown it. What is hidden of two may be all that they differ in: then they get
// numbers, in their order.
func shownAddresses(addresses []string, show func(string) string) map[string]string {
	out, taken := map[string]string{}, map[string]bool{}
	for _, address := range addresses {
		if _, there := out[address]; there {
			continue
		}
		name := show(address)
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s (%d)", show(address), n)
		}
		out[address], taken[name] = name, true
	}
	return out
}

// withoutAddress is the cause of an error of package net/http, which quotes the whole address.
func withoutAddress(err error) error {
	if quoting, is := errors.AsType[*url.Error](err); is {
		return quoting.Err
	}
	return err
}
