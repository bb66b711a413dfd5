package registry

// Judge is the rule that production finds broken by an address, "" if none.
func Judge(address string) string {
	code, _ := newAddresses(nil, nil).check(address)
	return code
}
