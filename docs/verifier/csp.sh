#!/usr/bin/env bash
# Writes the hashes of the code and the style of verify.html into its content security policy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
for tag in script style; do
	sum=$(awk -v begin="<$tag>" -v end="</$tag>" '$0 == end {exit} on {printf "%s\n", $0} $0 == begin {on=1; printf "\n"}' verify.html | openssl dgst -sha256 -binary | openssl base64)
	sed -i "s|$tag-src 'sha256-[^']*'|$tag-src 'sha256-$sum'|" verify.html
done
