package webhook

import (
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/timing"
)

// sentence is a text for people in the languages of those who read it. It may be a format.
type sentence struct{ en, pt string }

// in is the text in one language.
func (s sentence) in(portuguese bool) string {
	if portuguese {
		return s.pt
	}
	return s.en
}

// with puts args into both texts. One that is a sentence itself goes in in the language of the text around it, and a duration with the
// decimal sign of that language.
func (s sentence) with(args ...any) sentence {
	if len(args) == 0 {
		return s
	}
	en, pt := make([]any, len(args)), make([]any, len(args))
	for i, arg := range args {
		en[i], pt[i] = arg, arg
		switch inner := arg.(type) {
		case sentence:
			en[i], pt[i] = inner.en, inner.pt
		case time.Duration:
			pt[i] = timing.Decimal(inner.String(), "pt")
		}
	}
	return sentence{fmt.Sprintf(s.en, en...), fmt.Sprintf(s.pt, pt...)}
}

// stepTitles name the steps of a probe.
var stepTitles = map[StepName]sentence{
	StepAddress:     {"address", "endereço"},
	StepResolution:  {"name (DNS)", "nome (DNS)"},
	StepConnection:  {"connection", "conexão"},
	StepCertificate: {"receiver's certificate", "certificado do receptor"},
	StepOurs:        {"our certificate", "nosso certificado"},
}

// What a probe found as a whole.
var (
	verdictReady    = sentence{"ready: a notification would reach this address", "pronto: uma notificação chegaria a este endereço"}
	verdictUntested = sentence{"ready as far as it was tested", "pronto até onde foi testado"}
	verdictSlow     = sentence{
		"ready, but slow: connecting took %s, so a first attempt that must connect starts later than 1.5 s after its change",
		"pronto, mas lento: conectar levou %s; uma primeira tentativa que precise conectar começa mais de 1,5 s depois da mudança",
	}
	verdictNotReady = sentence{"NOT ready (%s)", "NÃO está pronto (%s)"}
)

// What is seen at a step.
var (
	seenAddress     = sentence{"host %s, port %d, path %q", "host %s, porta %d, caminho %q"}
	seenAsIs        = sentence{"%s", "%s"}
	seenAfter       = sentence{"after %s", "após %s"}
	seenConnected   = sentence{"connected", "conectado"}
	seenConnection  = sentence{"%s in %s", "%s em %s"}
	seenHandshake   = sentence{"%s in %s; %s, until %s", "%s em %s; %s, até %s"}
	seenOurs        = sentence{"serial %s was asked for; %s", "o de número de série %s foi pedido; %s"}
	seenOursRefused = sentence{"the receiver refused it", "o receptor o recusou"}
	seenUntested    = sentence{
		"the receiver demands one, and none was shown; whether it accepts a holder's is not tested",
		"o receptor exige um, e nenhum foi mostrado; se aceita o de uma detentora não foi testado",
	}
	seenNoAuthorities = sentence{
		"the receiver names no authorities, so whether it accepts ours shows only with a request",
		"o receptor não diz que autoridades aceita; só uma requisição mostra se aceita o nosso",
	}
	seenOthers = sentence{"the receiver names other authorities", "o receptor diz aceitar outras autoridades"}
	seenAmong  = sentence{"%s is among the %d authorities that the receiver names", "%s está entre as %d autoridades que o receptor diz aceitar"}
)

// troubleKind is a kind of failure of a step.
type troubleKind string

// The kinds.
const (
	troubleBrand   troubleKind = "brand"
	troubleAddress troubleKind = "address"
	troublePort    troubleKind = "port"

	troubleNoName     troubleKind = "no-name"
	troubleLateName   troubleKind = "late-name"
	troubleNameserver troubleKind = "nameserver"

	troubleNotPublic   troubleKind = "not-public"
	troubleRefused     troubleKind = "refused"
	troubleUnreachable troubleKind = "unreachable"
	troubleLate        troubleKind = "late"
	troubleConnection  troubleKind = "connection"

	troubleOwnExpired    troubleKind = "own-expired"
	troubleLateHandshake troubleKind = "late-handshake"
	troubleReset         troubleKind = "reset"
	troubleClosed        troubleKind = "closed"
	troubleNoTLS         troubleKind = "no-tls"
	troubleBroke         troubleKind = "broke"
	troubleFit           troubleKind = "fit"

	troubleSelfSigned   troubleKind = "self-signed"
	troubleForeignRoot  troubleKind = "foreign-root"
	troubleAlone        troubleKind = "alone"
	troubleOtherIssuers troubleKind = "other-issuers"
	troubleGap          troubleKind = "gap"
	troubleExpired      troubleKind = "expired"
	troubleNotYet       troubleKind = "not-yet"
	troubleWrongName    troubleKind = "wrong-name"
	troublePurpose      troubleKind = "purpose"
	troubleVerification troubleKind = "verification"
	troubleKey          troubleKind = "key"
	troubleAuthority    troubleKind = "authority"
	troubleRevoked      troubleKind = "revoked"
	troubleNoEvidence   troubleKind = "no-evidence"
	troubleProfile      troubleKind = "profile"
	troubleAlertOurs    troubleKind = "alert-ours"
	troubleAlertVersion troubleKind = "alert-version"
	troubleAlertName    troubleKind = "alert-name"
	troubleAlert        troubleKind = "alert"
	troubleNotAsked     troubleKind = "not-asked"
	troubleNotDemanded  troubleKind = "not-demanded"
	troubleNotAmong     troubleKind = "not-among"
	troubleRefusedAfter troubleKind = "refused-after"
	troubleClosedAfter  troubleKind = "closed-after"
	troubleBrokeAfter   troubleKind = "broke-after"
	troubleDataBefore   troubleKind = "data-before"
)

// stepTrouble is why a step does not hold, and what to do about it. It is the error of a step where nothing else is.
type stepTrouble struct {
	kind         troubleKind
	what, advice sentence
}

// Error is the text in English.
func (t *stepTrouble) Error() string { return t.what.en }

// Portuguese is the text for people who read Portuguese.
func (t *stepTrouble) Portuguese() string { return t.what.pt }

// of makes a trouble of a kind. args are put into its text.
func (k troubleKind) of(args ...any) *stepTrouble {
	words := troubles[k]
	return &stepTrouble{k, words.what.with(args...), words.advice}
}

// Texts that several kinds share.
const (
	notAccepted   = "the certificate is not accepted: "
	notAcceptedPT = "o certificado do receptor não é aceito: "
	noAuthority   = notAccepted + "certificate signed by unknown authority: "
	noAuthorityPT = notAcceptedPT + "assinado por uma autoridade desconhecida: "
)

var adviceReissue = sentence{
	"the initiator must install a certificate that an authority of the ecosystem issued for this name, and send it with its intermediates",
	"a iniciadora deve instalar um certificado emitido por uma autoridade do ecossistema para este nome, e enviá-lo com os intermediários",
}

// troubles are the words of each kind: what is wrong, and what would be right. They name no address of ours.
var troubles = map[troubleKind]struct{ what, advice sentence }{
	troubleBrand: {
		sentence{ErrBrand.Error(), "os ajustes não têm esta marca; nada foi enviado"},
		sentence{"the bank must add the brand to its settings, or end the registration", "o banco deve incluir a marca nos ajustes, ou encerrar o registro"},
	},
	troubleAddress: {
		seenAsIs,
		sentence{
			"the initiator must register another address: https://, a DNS name of the public internet, and a path without empty segments",
			"a iniciadora deve registrar outro endereço: https://, um nome DNS da internet pública, e um caminho sem segmentos vazios",
		},
	},
	troublePort: {
		seenAsIs,
		sentence{"the initiator must register an open port, or the bank adds this one to webhook.allow_ports", "a iniciadora deve registrar uma porta liberada, ou o banco inclui esta em webhook.allow_ports"},
	},

	troubleNoName: {
		sentence{"the name has no address", "o nome não tem endereço"},
		sentence{"check the spelling of the registered address, and publish an A or AAAA record of the name", "confira a grafia do endereço registrado, e publique um registro A ou AAAA do nome"},
	},
	troubleLateName: {
		sentence{"the name did not resolve in time", "o nome não foi resolvido a tempo"},
		sentence{"try again; if it stays so, check the name servers of the domain, and the bank its resolver", "tente de novo; se continuar, confira os servidores de nomes do domínio, e o banco o seu resolvedor"},
	},
	troubleNameserver: {
		sentence{"the name does not resolve; its name servers answer with an error, or not at all", "o nome não é resolvido; seus servidores respondem com erro, ou não respondem"},
		sentence{"check the name servers of the domain and its DNSSEC, and the bank its resolver", "confira os servidores de nomes do domínio e o DNSSEC, e o banco o seu resolvedor"},
	},

	troubleNotPublic: {
		sentence{"the name leads to no address of the public internet", "o nome não leva a um endereço da internet pública"},
		sentence{"publish the receiver's public address in the DNS that the internet sees", "publique o endereço público do receptor no DNS que a internet vê"},
	},
	troubleRefused: {
		sentence{"the address refuses connections at this port", "o endereço recusa conexões nesta porta"},
		sentence{"start the receiver, or register the port where it listens; a firewall that rejects looks the same", "inicie o receptor, ou registre a porta em que ele atende; um firewall que rejeita parece o mesmo"},
	},
	troubleUnreachable: {
		sentence{"the address cannot be reached", "o endereço não pode ser alcançado"},
		sentence{"check the routes to the receiver; if other initiators fail too, the bank checks its way out", "confira as rotas até o receptor; se outras iniciadoras também falham, o banco confere a sua saída"},
	},
	troubleLate: {
		sentence{"no connection in time; a firewall may drop what comes from us", "não houve conexão a tempo; um firewall pode estar descartando o que enviamos"},
		sentence{"open the receiver's firewall for the bank's addresses, and the bank its way out to this port", "libere os endereços do banco no firewall do receptor, e o banco a sua saída para esta porta"},
	},
	troubleConnection: {
		sentence{"the connection was not made", "a conexão não foi feita"},
		sentence{"try again; if it stays so, the bank looks at the technical text", "tente de novo; se continuar, o banco deve ver o texto técnico"},
	},

	troubleOwnExpired: {
		sentence{"the holder's own certificate cannot be used now", "o certificado de quem conecta não pode ser usado agora"},
		sentence{"the bank must renew the certificate of webhook.tls_cert; the receiver needs no change", "o banco deve renovar o certificado de webhook.tls_cert; no receptor não há o que mudar"},
	},
	troubleLateHandshake: {
		sentence{"the handshake did not end in time", "o handshake não terminou a tempo"},
		sentence{"check the load of the receiver, and that what answers at this port speaks TLS", "confira a carga do receptor, e se o que atende nesta porta fala TLS"},
	},
	troubleReset: {
		sentence{"the receiver reset the connection during the handshake", "o receptor cortou a conexão durante o handshake"},
		sentence{"look in the log of the receiver and of the balancer before it for the reason, such as a certificate or a version it does not accept", "procure o motivo no log do receptor e do balanceador à frente dele, como um certificado ou uma versão que não aceita"},
	},
	troubleClosed: {
		sentence{"the receiver closed the connection during the handshake", "o receptor fechou a conexão durante o handshake"},
		sentence{"look in the log of the receiver and of the balancer before it for the reason, such as a certificate or a version it does not accept", "procure o motivo no log do receptor e do balanceador à frente dele, como um certificado ou uma versão que não aceita"},
	},
	troubleNoTLS: {
		sentence{"the receiver does not speak TLS", "o receptor não fala TLS"},
		sentence{"switch TLS on at this port, or register the port that has it", "ligue o TLS nesta porta, ou registre a porta que o tem"},
	},
	troubleBroke: {
		sentence{"the connection broke during the handshake", "a conexão caiu durante o handshake"},
		sentence{"try again; if it stays so, check the network between the bank and the receiver", "tente de novo; se continuar, confira a rede entre o banco e o receptor"},
	},
	troubleFit: {
		sentence{"the handshake failed; version, cipher suite or key of the endpoint do not fit", "o handshake falhou; versão, cifra ou chave do receptor não servem"},
		sentence{
			"offer TLS 1.2 with ECDHE-RSA and AES-GCM, or TLS 1.3, with an RSA key of at least 2048 bits",
			"ofereça TLS 1.2 com ECDHE-RSA e AES-GCM, ou TLS 1.3, com uma chave RSA de pelo menos 2048 bits",
		},
	},

	troubleSelfSigned: {
		sentence{noAuthority + "it is self-signed; an authority of webhook.root_ca must have issued it", noAuthorityPT + "é autoassinado; uma autoridade de webhook.root_ca deve tê-lo emitido"},
		adviceReissue,
	},
	troubleForeignRoot: {
		sentence{noAuthority + "the chain ends at %s, which is not in webhook.root_ca", noAuthorityPT + "a cadeia termina em %s, que não está em webhook.root_ca"},
		sentence{
			"use a certificate of an authority of the ecosystem; if this is one, the bank adds its root to webhook.root_ca",
			"use um certificado de uma autoridade do ecossistema; se esta é uma, o banco inclui a raiz dela em webhook.root_ca",
		},
	},
	troubleAlone: {
		sentence{
			noAuthority + "the receiver sent its own certificate alone; it must send its intermediate too, or the issuer is none of ours: %s",
			noAuthorityPT + "o receptor enviou só o próprio certificado; deve enviar também o intermediário, ou o emissor não é um dos nossos: %s",
		},
		sentence{
			"install the whole chain at the receiver (nginx: certificate and intermediate in the file of ssl_certificate)",
			"instale a cadeia inteira no receptor (nginx: certificado e intermediário no arquivo de ssl_certificate)",
		},
	},
	troubleOtherIssuers: {
		sentence{
			noAuthority + "none of the certificates that the receiver sent with its own is its issuer's: %s",
			noAuthorityPT + "nenhum dos certificados que o receptor enviou com o seu é o do emissor: %s",
		},
		sentence{"replace the intermediates at the receiver by those of this certificate", "troque os intermediários no receptor pelos deste certificado"},
	},
	troubleGap: {
		sentence{
			noAuthority + "the receiver did not send the certificate of the next issuer, or it is none of ours: %s",
			noAuthorityPT + "o receptor não enviou o certificado do próximo emissor, ou ele não é um dos nossos: %s",
		},
		sentence{
			"add the missing intermediate to the chain at the receiver; if the authority is one of the ecosystem, the bank adds its root to webhook.root_ca",
			"inclua na cadeia do receptor o intermediário que falta; se a autoridade é do ecossistema, o banco inclui a raiz dela em webhook.root_ca",
		},
	},
	troubleExpired: {
		sentence{notAccepted + "%s expired at %s", notAcceptedPT + "%s venceu em %s"},
		sentence{"the initiator must renew the certificate and load it at the receiver", "a iniciadora deve renovar o certificado e carregá-lo no receptor"},
	},
	troubleNotYet: {
		sentence{notAccepted + "%s is not valid before %s", notAcceptedPT + "%s não vale antes de %s"},
		sentence{"use a certificate that is valid now, and check the clocks of both sides", "use um certificado que já valha, e confira os relógios dos dois lados"},
	},
	troubleWrongName: {
		sentence{notAccepted + "it is not for the name %s; its names: %s", notAcceptedPT + "não é para o nome %s; os nomes dele: %s"},
		sentence{
			"register an address whose host is in the certificate, or have a certificate issued with this name (SAN)",
			"registre um endereço cujo host esteja no certificado, ou emita um certificado com este nome (SAN)",
		},
	},
	troublePurpose: {
		sentence{notAccepted + "it is not for TLS servers (extended key usage serverAuth)", notAcceptedPT + "não serve para servidores TLS (uso estendido serverAuth)"},
		sentence{"use a certificate with extended key usage serverAuth, not one for clients or signatures", "use um certificado com uso estendido serverAuth, não um de cliente ou de assinatura"},
	},
	troubleVerification: {sentence{notAccepted + "%s", notAcceptedPT + "%s"}, adviceReissue},
	troubleKey: {
		sentence{notAccepted + "a key of its chain is not RSA of at least 2048 bits", notAcceptedPT + "uma chave da cadeia não é RSA de pelo menos 2048 bits"},
		sentence{"use a certificate with an RSA key of at least 2048 bits, and so its whole chain", "use um certificado com chave RSA de pelo menos 2048 bits, e assim toda a cadeia"},
	},
	troubleAuthority: {sentence{notAccepted + "its authority is no longer trusted", notAcceptedPT + "a autoridade dele não é mais aceita"}, adviceReissue},
	troubleRevoked: {
		sentence{notAccepted + "its authority revoked it", notAcceptedPT + "foi revogado pela autoridade"},
		sentence{"the initiator must install a new certificate", "a iniciadora deve instalar um certificado novo"},
	},
	troubleNoEvidence: {
		sentence{notAccepted + "whether it was revoked is not known", notAcceptedPT + "não se sabe se foi revogado"},
		sentence{
			"the bank checks that it reaches the revocation lists and the OCSP responder of the authority",
			"o banco confere se alcança as listas de revogação e o serviço OCSP da autoridade",
		},
	},
	troubleProfile: {
		sentence{"the certificate does not pass the checks of profile and revocation", "o certificado não passa nas verificações de perfil e de revogação"},
		adviceReissue,
	},
	troubleAlertOurs: {
		sentence{"the receiver ended the handshake: %s", "o receptor encerrou o handshake: %s"},
		sentence{
			"the receiver does not accept our certificate: trust the authority that issued it, with its intermediate, and check its end and the list of allowed clients",
			"o receptor não aceita o nosso certificado: confie na autoridade que o emitiu, com o intermediário, e confira até quando vale e a lista de quem é permitido",
		},
	},
	troubleAlertVersion: {
		sentence{"the receiver ended the handshake: %s", "o receptor encerrou o handshake: %s"},
		sentence{
			"offer TLS 1.2 with ECDHE-RSA and AES-GCM, or TLS 1.3; a receiver that does not accept our certificate may say so, too",
			"ofereça TLS 1.2 com ECDHE-RSA e AES-GCM, ou TLS 1.3; um receptor que não aceita o nosso certificado também pode responder assim",
		},
	},
	troubleAlertName: {
		sentence{"the receiver ended the handshake: %s", "o receptor encerrou o handshake: %s"},
		sentence{"configure the host of the registered address at the receiver (SNI)", "configure no receptor o host do endereço registrado (SNI)"},
	},
	troubleAlert: {
		sentence{"the receiver ended the handshake: %s", "o receptor encerrou o handshake: %s"},
		sentence{"look in the log of the receiver for the reason", "procure o motivo no log do receptor"},
	},

	troubleNotAsked: {
		sentence{"the receiver did not ask for it; a webhook endpoint must demand mutual TLS (security §3)", "o receptor não o pediu; um endpoint de webhook deve exigir TLS mútuo (security §3)"},
		sentence{"demand a client certificate in the handshake (nginx: ssl_verify_client on; Apache: SSLVerifyClient require for the whole virtual host)", "exija um certificado de cliente no handshake (nginx: ssl_verify_client on; Apache: SSLVerifyClient require para todo o virtual host)"},
	},
	troubleNotDemanded: {
		sentence{
			"the receiver asked for a certificate and went on without one; a webhook endpoint must demand mutual TLS (security §3)",
			"o receptor pediu um certificado e seguiu sem ele; um endpoint de webhook deve exigir TLS mútuo (security §3)",
		},
		sentence{"demand the client certificate, not only ask for it (nginx: ssl_verify_client on; Apache: SSLVerifyClient require)", "exija o certificado de cliente, em vez de só pedi-lo (nginx: ssl_verify_client on; Apache: SSLVerifyClient require)"},
	},
	troubleNotAmong: {
		sentence{
			"the receiver names %d authorities of client certificates, the first is %s; the issuer of ours is not among them: %s",
			"o receptor diz aceitar %d autoridades de certificados de cliente, a primeira é %s; o emissor do nosso não está entre elas: %s",
		},
		sentence{"add the issuer of our certificate to the client authorities of the receiver", "inclua o emissor do nosso certificado nas autoridades de cliente do receptor"},
	},
	troubleRefusedAfter: {
		sentence{"it was refused: %s", "foi recusado: %s"},
		sentence{
			"trust the authority that issued our certificate, with its intermediate, and check its end and the list of allowed clients",
			"confie na autoridade que emitiu o nosso certificado, com o intermediário, e confira até quando vale e a lista de quem é permitido",
		},
	},
	troubleClosedAfter: {
		sentence{"the receiver closed the connection after the handshake; it may refuse our certificate", "o receptor fechou a conexão depois do handshake; talvez recuse o nosso certificado"},
		sentence{"look in the log of the receiver whether it refused our certificate, and trust the authority that issued it", "procure no log do receptor se ele recusou o nosso certificado, e confie na autoridade que o emitiu"},
	},
	troubleBrokeAfter: {
		sentence{"the connection broke after the handshake", "a conexão caiu depois do handshake"},
		sentence{"try again; if it stays so, check the network and the balancer before the receiver", "tente de novo; se continuar, confira a rede e o balanceador à frente do receptor"},
	},
	troubleDataBefore: {
		sentence{"the receiver sent data before the request; it does not speak HTTP", "o receptor enviou dados antes da requisição; não fala HTTP"},
		sentence{"register the port where HTTP/1.1 over TLS is spoken", "registre a porta em que se fala HTTP/1.1 sobre TLS"},
	},
}
