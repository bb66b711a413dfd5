// Package sandbox is a whole holder on an initiator developer's machine: a temporary PostgreSQL, a development PKI, the real gateway, a
// token endpoint, and a stand-in core that accepts creations of consents, payments and enrolments as the official APIs shape them. The
// cents of an amount choose what becomes of a resource (Outcomes). It serves `arauto sandbox` and `arauto trigger`.
//
// Notifications go straight from the gateway to the developer's receiver. Only while a story loses attempts is the client registered
// at an address of the sandbox, which passes on everything but what the story loses.
//
// It is no authorisation server: a payer's consent is given by the story, tokens are for client credentials alone, and a consent or
// payment is not bound to a login.
package sandbox
