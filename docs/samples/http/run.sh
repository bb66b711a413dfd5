#!/usr/bin/env bash
# Connects a core by HTTP: registers an initiator, sends one change of a payment and shows the notification.
# README.md in this folder says how to start what it needs. It needs bash and curl, nothing else.
set -euo pipefail

: "${ARAUTO_URL:?is not set; set it to the address of the bank side, such as http://127.0.0.1:9443}"
: "${ARAUTO_TOKEN_FILE:?is not set; set it to a file with a bearer token of the roles registrar, ingest and auditor}"
: "${WEBHOOK_URI:?is not set; set it to the https address that the initiator listens on}"
CLIENT=${CLIENT:-curl-sample} # the client id of the initiator, as the authorization server knows it

# call METHOD PATH [OPTION …] sends one request and prints the answer. A status of 400 or more ends the script.
call() {
	local method=$1 path=$2
	shift 2
	curl --silent --show-error --fail-with-body --request "$method" \
		--header "Authorization: Bearer $(<"$ARAUTO_TOKEN_FILE")" --header 'Content-Type: application/json' "$@" "$ARAUTO_URL$path"
	echo
}

now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
payment=curl-sample-$(date -u +%Y%m%d%H%M%S)-$$ # a new payment for each run

echo "1. Register the initiator. In production the registration carries its software statement, too."
call PUT "/internal/v1/initiators/$CLIENT" --data-binary '{
  "organisationId": "1a5f0b7c-93de-4e1f-8b62-0c4d9e7a3f10",
  "softwareId": "5b2f6f0e-3d27-4d3e-a1c5-70f1b8e9d4a2",
  "name": "Iniciadora de exemplo",
  "webhookUris": ["'"$WEBHOOK_URI"'"]
}'

echo "2. Send a change: the payment $payment is settled (ACSC). The answer comes after the commit."
change='{
  "kind": "pix-payment",
  "clientId": "'"$CLIENT"'",
  "apiVersion": "v5",
  "revision": 1,
  "occurredAt": "'"$now"'",
  "data": {
    "paymentId": "'"$payment"'",
    "consentId": "urn:bancoexemplo:7d0c5f1e-2b86-4c0b-9b1c-3f6f0a7d2e44",
    "endToEndId": "E99999004'"$(date -u +%Y%m%d%H%M)"'EXEMPLO0001",
    "creationDateTime": "'"$now"'",
    "statusUpdateDateTime": "'"$now"'",
    "status": "ACSC",
    "localInstrument": "DICT",
    "proxy": "99999999000191",
    "cnpjInitiator": "99999999000272",
    "payment": {"amount": "150.25", "currency": "BRL"},
    "authorisationFlow": "HYBRID_FLOW",
    "creditorAccount": {"ispb": "99999004", "issuer": "1774", "number": "1234567890", "accountType": "CACC"},
    "debtorAccount": {"ispb": "99999004", "issuer": "0001", "number": "94088392", "accountType": "CACC"}
  }
}'
answer=$(call POST /internal/v1/changes --data-binary "$change")
echo "$answer"
notification=$(sed -n 's/.*"notifications":\[{"id":"\([^"]*\)".*/\1/p' <<<"$answer")
if [ -z "$notification" ]; then
	echo "The change makes no notification; the answer says why." >&2
	exit 1
fi

echo "3. Send the same change again, as a core does when an answer is lost. It is a duplicate, and nothing is sent twice."
call POST /internal/v1/changes --data-binary "$change"

echo "4. Read the notification until its end: delivered, or exhausted after the third attempt."
for ((tries = 0; tries < 100; tries++)); do
	answer=$(call GET "/internal/v1/notifications/$notification")
	if [[ $answer != *'"state":"pending"'* ]]; then break; fi
	sleep 1
done
echo "$answer"
if [[ $answer != *'"state":"delivered"'* ]]; then
	echo "The notification is not delivered; its attempts say why." >&2
	exit 1
fi
