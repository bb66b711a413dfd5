// Package openapi holds our own OpenAPI documents of what we serve and send, and the rules that follow from them for
// the `data` of a resource.
//
// The documents are written by us from the published rules; the official files serve as oracles in tests only. Each
// says what one API version answers on the status paths we serve:
//
//	payments-v4.yaml             the union of 4.0.1 and 4.1.0; each of them by declaration
//	payments-v5.yaml             5.0.0
//	automatic-payments-v2.yaml   2.2.0; 2.0.0 by declaration
//	enrollments-v2.yaml          2.3.0; 2.2.0 by declaration, with the same members
//	webhook-v1.yaml              1.3.0, the request we send
//	extension-v1.yaml            what initiators may ask beyond the rules
//	internal.yaml                what the bank's own systems and people call
//
// They are embedded and used three times. Documents serves them to readers. Schemas.Check judges the `data` of every
// change before it is stored, so that what a status query returns later is right already (contract "Schemas"). Upgrade
// and the list items make of a stored document what an answer needs.
//
// Two things are deliberate absences. No message repeats a received value: these documents carry CPFs, names and
// accounts. And what the initiator sent and the holder merely repeats (a Pix key, a QR code, a purpose) is held to its
// schema only, not to the prose about when an initiator has to send it: that was judged when the consent was created,
// and a document refused here is a notification not sent.
package openapi

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var documents embed.FS

// Documents is the folder of the documents, one YAML file each, as readers and a documentation page want them. They
// name no other file.
func Documents() fs.FS { return documents }
