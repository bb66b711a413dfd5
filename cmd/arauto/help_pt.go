package main

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/lab/sandbox"
)

// helpText is the help of a command in Portuguese. A test holds it to the command's flags.
type helpText struct {
	long  string
	flags map[string]string
	lang  string // of the flag --lang; empty: the language of messages
}

// portugueseHelp is the help of the commands that initiators' developers and people who prepare a certification use.
var portugueseHelp = map[string]helpText{
	"sandbox": {
		long: "Inicia um PostgreSQL e uma PKI temporários, o gateway com a extensão, um endpoint de tokens e um core simulado. O core aceita os\n" +
			"POSTs que criam consentimentos, pagamentos e vínculos, assinados ou não, e faz acontecer o que dizem os centavos do valor:\n\n",
		flags: map[string]string{
			"webhook": "endereço de webhook do cliente alfa; vazio: não tem push", "port": "porta dos POSTs; as consultas de status ficam na seguinte; 0: portas livres",
			"signed-by": "JWKS das chaves que assinam suas requisições; sem ele as assinaturas não são conferidas", "keep": "deixa a pasta com certificados, banco de dados e logs",
			"json": "escreve um objeto JSON por linha",
		},
	},
	"trigger": {
		long: "Cria um recurso no sandbox em execução e o leva a um estado, com a notificação que a regra exige; mostra o id do recurso e os das\n" +
			"notificações e tentativas. KIND é payment-consent, pix-payment, recurring-consent, recurring-payment ou enrollment. STATUS é um estado\n" +
			"do tipo, ou DATA_CHANGED. Sem STATUS, os centavos de --amount escolhem a história (arauto sandbox --help); com ambos, o valor decide\n" +
			"o que acontece com as tentativas.",
		flags: map[string]string{
			"client": "cliente dono do recurso (padrão: alfa)", "amount": "valor, como 10.07", "api-version": "versão maior do POST que o criou, como v4 (padrão: a mais nova)",
			"id": "recurso do sandbox com o qual continuar, em vez de um novo", "json": "escreve um objeto JSON",
		},
	},
	"poll": {
		long: "Consulta o status de um recurso como uma iniciadora, confere a resposta assinada e mostra os dados e o que mudou desde a última\n" +
			"consulta deste comando ao mesmo recurso. Do recurso de outra detentora só o status fica no cache do usuário para isso, pois documentos\n" + //nolint:misspell // Portuguese
			"têm dados pessoais; dos do sandbox, tudo. Ao lado de um sandbox basta o id. Para outra detentora, informe o endereço e as chaves dela,\n" +
			"o tipo do recurso, e seu certificado e token. Código de saída 1: sem resposta, recusa, ou assinatura que não confere.",
		flags: map[string]string{ //nolint:gosec // texts, not credentials
			"kind": "tipo do recurso, como pix-payment", "api-version": "versão maior da API, como v5 (padrão: a mais nova)", "public": "host:porta das consultas de status",
			"public-ca": "autoridade do certificado delas, PEM; senão as do sistema", "public-name": "nome no certificado delas; senão o host de --public",
			"holder-keys": "JWKS das chaves que assinam as respostas", "organisation-id": "id da organização da detentora", "client": "client id, para tokens de uma PKI de desenvolvimento",
			"cert": "seu certificado de transporte (BRCAC) com a cadeia, PEM", "key": "a chave privada dele, PEM", "access-token": "arquivo com um token de acesso",
			"pki": "pasta de uma PKI de desenvolvimento; substitui arquivos e token", "initiator": "qual iniciadora da PKI de desenvolvimento ser (padrão: a do cliente)",
			"json": "escreve um objeto JSON",
		},
	},
	"listen": {
		long: "Abre um endpoint de webhook com TLS mútuo. Mostra cada notificação e tudo o que nela não é como a API de webhook 1.3.0 pede, e responde\n" +
			"202 com o id de interação da notificação, ou os status de --answer, um por vez. Informe os certificados do endpoint, ou com --pki os de\n" +
			"uma PKI de desenvolvimento (arauto certs PASTA); sem nenhum, os do sandbox em execução. Com --forward, a aplicação local decide a\n" +
			"resposta. No fim, lista os recursos dos quais nenhuma notificação foi respondida com 2xx enquanto quem chama esperava.",
		flags: map[string]string{
			"addr": "endereço em que escuta, host:porta", "tls-cert": "certificado do endpoint com a cadeia, PEM", "tls-key": "chave privada do certificado, PEM",
			"client-ca": "autoridades que emitem os certificados das detentoras, PEM", "pki": "pasta de uma PKI de desenvolvimento; substitui os três arquivos",
			"forward":             "passa as notificações a uma aplicação local, como http://localhost:3000/hook, e responde o que ela responde",
			"expect-organisation": "responde 403 a quem mostra o certificado de outra organização, e diz qual é", "delay": "espera esse tempo antes de cada resposta, no máximo 1m",
			"drop": "encerra sem resposta as conexões das primeiras tantas notificações", "serve-expired": "mostra um certificado vencido, de uma PKI de desenvolvimento com --bad ou do sandbox",
			"serve-wrong-name": "mostra o de outro host, da mesma forma", "json": "escreve um objeto JSON por linha, com textos em inglês",
			"initiator": "qual iniciadora da PKI de desenvolvimento usar", "answer": "status HTTP a responder, um por vez; o último se repete",
		},
	},
	"conformance": {
		long: "Executa os módulos de webhook da suíte de certificação do ecossistema, pelos nomes técnicos, contra um gateway que já está em execução,\n" +
			"antes que o banco pague uma rodada de certificação. Ele ocupa o lugar do core e do servidor de autorização do banco: registra o\n" +
			"cliente indicado, entrega mudanças de recursos próprios pela API interna, recebe as notificações e consulta os endpoints de status.\n" +
			"Execute só em homologação: o que ele entrega fica no histórico, e o registro de --client termina.\n\n" +
			"Informe cada arquivo, ou com --pki a pasta de uma PKI de desenvolvimento, como `arauto demo --keep` a mostra. Sem --pki, --internal e\n" +
			"--cert, vale o sandbox em execução (arauto sandbox). As linhas dos passos são em inglês; a página é no idioma de --lang. Código de\n" +
			"saída 1: um módulo falhou, ou a execução foi interrompida.",
		flags: map[string]string{ //nolint:gosec // texts, not credentials
			"internal": "endereço base da API interna, como https://arauto.internal:9443", "internal-ca": "autoridade do certificado dela, PEM; senão as do sistema",
			"internal-token": "arquivo com um bearer token dos papéis ingest e registrar; lido de novo a cada chamada", "public": "host:porta das consultas de status",
			"public-ca": "autoridade do certificado delas, PEM; senão as do sistema", "public-name": "nome no certificado delas; senão o host de --public",
			"holder-keys": "JWKS das chaves que assinam as respostas", "organisation-id": "id da organização da detentora",
			"authorisation-server-id": "o que as notificações de vínculos devem trazer", "client": "client id registrado para esta execução, e para nada mais",
			"cert": "certificado de transporte (BRCAC) da iniciadora com a cadeia, PEM", "key": "chave privada dele, PEM",
			"access-token": "arquivo com um token de acesso do cliente; lido de novo a cada consulta",
			"statement":    "arquivo com um software statement de no máximo 5 minutos; lido de novo a cada registro", "base-uri": "endereço de webhook que o statement lista",
			"server-cert": "certificado do receptor com a cadeia, PEM", "server-key": "chave privada do certificado do receptor, PEM",
			"client-ca": "autoridades do certificado de transporte da detentora, PEM", "pki": "pasta de uma PKI de desenvolvimento; substitui arquivos, tokens e statements",
			"initiator": "qual iniciadora da PKI de desenvolvimento ser (padrão: alfa)", "module": "executa só os módulos cujo nome técnico contém este texto",
			"html": "escreve o relatório neste arquivo, como página", "json": "escreve o relatório neste arquivo, como JSON", "listen": "endereço do receptor, host:porta",
			"versions": "o schema.versions do gateway; módulos de outras versões não são executados", "wait": "webhookWaitTime, a pausa após cada registro",
			"within": "quanto tempo se aguarda uma notificação", "quiet": "por quanto tempo nada pode chegar onde nada é devido, mais de 1.5s",
		},
		lang: "idioma da página, pt ou en",
	},
	"explain": {
		long: "Avalia, sem aplicar, uma mudança ou uma linha de uma fonte: a linha dada, ou a mais nova da sua tabela no banco de dados do core. Mostra os\n" +
			"passos do mapeamento, a mudança, o que nela está errado, o veredito com a cláusula e a requisição exata. Nada é armazenado nem enviado. Se o banco de\n" +
			"dados do gateway está configurado e responde, ele é consultado; senão a mudança é avaliada como a primeira do seu recurso, de um cliente com\n" +
			"endereço. Código de saída 1: a mudança seria recusada.",
		flags: map[string]string{
			"config": "arquivo de ajustes, YAML; o ambiente prevalece", "change": "uma mudança, como POST /internal/v1/changes a aceita",
			"source": "arquivo de mapeamento da fonte da linha", "table": "tabela, tópico ou fila da linha; opcional se o mapeamento tem só uma",
			"row":  "a linha como objeto JSON das suas colunas, ou a mensagem; sem ela, a linha mais nova da tabela",
			"json": "escreve um objeto JSON por linha, com textos em inglês: um para uma mudança, um para cada mapeamento da tabela da linha",
		},
	},
	"preflight": {
		long: "Conecta ao endereço registrado por uma iniciadora, como uma notificação, até o fim do handshake TLS mútuo. Os passos: o endereço pode\n" +
			"ser chamado, o nome é resolvido, ele atende, seu certificado é confiável, ele pede o nosso e o aceita. Nada é enviado. Só os\n" +
			"ajustes webhook.… e profile são necessários. Código de saída 1: o endpoint não está pronto.\n" +
			"Uma iniciadora testa o próprio endpoint com qualquer certificado de cliente que suas autoridades aceitem: --cert, --key, --root-ca.\n" +
			"Se ele aceita o certificado de uma certa detentora, só com este se vê; com --no-cert isso não é testado, mas se vê se ele exige um.\n" +
			"Sem ajustes nem arquivos, quem conecta é a detentora do sandbox em execução (arauto sandbox).",
		flags: map[string]string{
			"config": "arquivo de ajustes, YAML", "json": "escreve um objeto JSON, com textos em inglês", "cert": "certificado de cliente a mostrar, em vez de webhook.tls_cert",
			"key": "chave privada dele, em vez de webhook.tls_key", "root-ca": "autoridades em que confiar, em vez de webhook.root_ca",
			"no-cert": "não mostra certificado", "brand": "a marca que conecta, onde os ajustes têm várias",
		},
	},
}

// portugueseFrame replaces the words around a command's help.
var portugueseFrame = strings.NewReplacer("Usage:", "Uso:", "Flags:", "Opções:", "[flags]", "[opções]")

// helpInItsLanguage shows the help of a command in the language that is asked for when it is shown.
func helpInItsLanguage(c *cobra.Command, language func() string) {
	help, english := c.HelpFunc(), c.UsageTemplate()
	c.SetHelpFunc(func(c *cobra.Command, args []string) {
		c.SetUsageTemplate(english)
		if known(language()) == "pt" {
			text := portugueseHelp[c.Name()]
			if c.Long = text.long; c.Name() == "sandbox" {
				c.Long += sandbox.Table("pt")
			}
			c.SetUsageTemplate(portugueseFrame.Replace(english))
			for name, usage := range text.flags {
				c.Flag(name).Usage = usage
			}
			c.Flag("lang").Usage, c.Flag("help").Usage = cmp.Or(text.lang, "idioma das mensagens, pt ou en"), "mostra esta ajuda"
		}
		help(c, args)
	})
}
