module github.com/arauto/arauto/internal/lab/pkcs11signer

go 1.26.6

require github.com/miekg/pkcs11 v1.1.2
