package status

import "strings"

// Endpoint is the path of an operation as reports to the ecosystem name it, such as
// /open-banking/payments/v4/consents/{consentId}, from the operation and version that a poll's record holds; "" for what
// is no operation of ours. A call of the extension has its own path.
func Endpoint(operation, version string) string {
	for i := range operations {
		if op := &operations[i]; op.name == operation {
			return op.route(version, "{"+op.kind.IDMember()+"}")
		}
	}
	return extensionEndpoint(operation)
}

// route is the operation's path with something in the place of the id.
func (op *operation) route(version, id string) string {
	return "/open-banking/" + op.api + "/" + version + strings.Replace(op.path, "{id}", id, 1)
}

// operationOf finds what a route of the public listener leads to; empty for none.
func operationOf(route string) (name, version string) {
	for i := range operations {
		for _, version := range operations[i].versions {
			if operations[i].route(version, "{id}") == route {
				return operations[i].name, version
			}
		}
	}
	if name := extensionOf(route); name != "" {
		return name, extensionAPI
	}
	return "", ""
}
