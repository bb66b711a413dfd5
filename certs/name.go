package certs

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
)

// The two string types of the profile: C, serialNumber and jurisdictionCountryName are PrintableString, everything
// else is UTF8String (security §4.2).
const (
	printable = asn1.TagPrintableString
	utf8      = asn1.TagUTF8String
)

// attribute is one relative distinguished name with the string type it must be encoded in. Package pkix chooses the
// type by content and knows no order, so names are encoded here.
type attribute struct {
	oid   asn1.ObjectIdentifier
	tag   int
	value string
}

// encodeName makes the DER of a distinguished name, one attribute per RDN, in the order given. RFC 4514 prints names
// from the last to the first.
func encodeName(attributes []attribute) ([]byte, error) {
	var name pkix.RDNSequence
	for _, a := range attributes {
		name = append(name, pkix.RelativeDistinguishedNameSET{{
			Type: a.oid, Value: asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)},
		}})
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		return nil, fmt.Errorf("encode a distinguished name: %w", err)
	}
	return der, nil
}

// subject is the distinguished name of a profile, in the order in force since 2023-01-19 unless the profile asks for
// the other (security §4.2).
func (p Profile) subject() ([]byte, error) {
	var attributes []attribute
	switch p.Kind {
	case BRCAC:
		attributes = p.brcacName()
	case BRSEAL:
		attributes = p.brsealName()
	default:
		attributes = []attribute{
			{oidCountry, printable, "BR"},
			{oidOrganisation, utf8, p.Organisation.Name},
			{oidState, utf8, "SP"},
			{oidLocality, utf8, "Sao Paulo"},
			{oidCommonName, utf8, p.CommonName},
		}
	}
	if p.ReverseOrder {
		slices.Reverse(attributes)
	}
	return encodeName(attributes)
}

func (p Profile) brcacName() []attribute {
	organisation := attribute{oidOrganisationID, utf8, "OFBBR-" + p.Organisation.ID}
	if p.OldStyle {
		organisation = attribute{oidOrganisationalUnit, utf8, p.Organisation.ID}
	}
	return []attribute{
		{oidBusinessCategory, utf8, "Private Organization"},
		{oidJurisdictionCountry, printable, "BR"},
		{oidSerialNumber, printable, p.Organisation.CNPJ},
		{oidCountry, printable, "BR"},
		{oidOrganisation, utf8, p.Organisation.Name},
		{oidState, utf8, "SP"},
		{oidLocality, utf8, "Sao Paulo"},
		organisation,
		{oidUserID, utf8, p.SoftwareID},
		{oidCommonName, utf8, p.CommonName},
	}
}

// brsealName carries the organisation id under the OID that a BRCAC uses for the software statement (security §4.3).
func (p Profile) brsealName() []attribute {
	return []attribute{
		{oidCountry, printable, "BR"},
		{oidOrganisation, utf8, "ICP-Brasil"},
		{oidOrganisationalUnit, utf8, "Arauto Development Seal CA V5"},
		{oidOrganisationalUnit, utf8, "00000000000191"},
		{oidOrganisationalUnit, utf8, "Videoconferencia"},
		{oidUserID, utf8, p.Organisation.ID},
		{oidCommonName, utf8, p.CommonName},
	}
}

// sealSAN is the subjectAltName of a BRSEAL: the other names that ICP-Brasil prescribes, about a person who does not
// exist, every digit of whose documents is zero (security §4.3).
func sealSAN(o Organisation) (pkix.Extension, error) {
	names := []struct {
		oid   asn1.ObjectIdentifier
		value string
	}{
		{asn1.ObjectIdentifier{2, 16, 76, 1, 3, 2}, "PESSOA DE TESTE"},
		{asn1.ObjectIdentifier{2, 16, 76, 1, 3, 3}, o.CNPJ},
		// birth date (8), CPF (11), PIS (11), RG (15), issuer and state
		{asn1.ObjectIdentifier{2, 16, 76, 1, 3, 4}, "01012000" + "00000000000" + "00000000000" + "000000000000000" + "SSPSP"},
		{asn1.ObjectIdentifier{2, 16, 76, 1, 3, 7}, "000000000000"},
	}
	var san []asn1.RawValue
	for _, n := range names {
		der, err := asn1.MarshalWithParams(struct {
			OID   asn1.ObjectIdentifier
			Value string `asn1:"tag:0,explicit,utf8"`
		}{n.oid, n.value}, "tag:0")
		if err != nil {
			return pkix.Extension{}, fmt.Errorf("encode the other names of a BRSEAL: %w", err)
		}
		san = append(san, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(san)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode the other names of a BRSEAL: %w", err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}, nil
}
