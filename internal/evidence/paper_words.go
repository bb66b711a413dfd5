package evidence

// paperWords are the words of documents on paper, in Portuguese and English, beside those of the dossier.
var paperWords = map[string]map[string]string{
	"pt": {
		"foot": "Log selado com %d registros, raiz %s", "holder": "Detentora", "initiator": "Iniciadora", "entries": "Registros neste documento", "size": "Registros no log",
		"noName": "(nome não informado)", "time": "Instante", "code": "Checkpoint assinado. Compare-o com o que uma âncora guarda.",
		"headProves": "O que este documento prova", "headProvesNot": "O que ele não prova", "headCheck": "Como conferir sem nós",
		"dossierProves": "Os registros anexados estão no log, nas posições indicadas, com o conteúdo que foi selado: cada um tem a sua prova até a raiz assinada do checkpoint.\n" +
			"As páginas, inclusive os vereditos de prazo, foram escritas a partir desses registros, depois de cada um ser conferido.",
		"dossierProvesNot": "Que a iniciadora leu ou tratou o aviso: registra-se somente a resposta dela.\n" +
			"Que o core informou o instante certo do evento: consta o instante que o core declarou.\n" +
			"Os nomes das instituições, que vêm do cadastro e dos ajustes, e as páginas em si: em caso de diferença, prevalecem os registros anexados.",
		"dossierCheck": "Peça à detentora, por outro canal, a chave pública do log, e compare o checkpoint com o que foi publicado fora do banco de dados (âncora).\n" +
			"arauto audit verify --key CHAVE ARQUIVO.pdf confere este arquivo; docs/verify.py, que não usa código nosso, confere o anexo bundle.zip.\n" +
			"Qualquer leitor de PDF abre os anexos; sha256sums.txt tem as somas SHA-256 dos outros.",
		"noPDFA":          "Fontes e anexos estão embutidos. O arquivo não declara conformidade com PDF/A-3.",
		"attachedDossier": "Dossiê para máquinas", "attachedBundle": "Registros, provas, checkpoint e manifesto", "attachedCheckpoint": "Checkpoint assinado", "attachedKey": "Chave pública do log; peça-a também por outro canal",
		"report": "Relatório de prazos das notificações", "period": "Período", "total": "Total", "byClient": "Por iniciadora", "silent": "Mudanças sem aviso", "late": "Notificações fora do prazo",
		"lateNote": "A tabela completa está no anexo breaches.csv. Aqui constam até %d notificações; no período foram %d.", "none": "Nos registros do período, nenhuma notificação fora do prazo.",
		"integrity": "Integridade", "lacking": "Fora do log", "attachedReport": "Totais para máquinas", "attachedBreaches": "Uma linha por prazo não cumprido",
		"reportProves": "Os totais e a lista foram calculados a partir dos registros do período, cada um comparado com o log selado; a seção Integridade diz quantos conferem.",
		"reportProvesNot": "Este arquivo não contém os registros e, sozinho, nada prova a terceiros: peça a exportação (bundle) do período, ou o dossiê de um recurso.\n" +
			"Que o core informou os instantes certos dos eventos: constam os instantes que o core declarou.",
		"reportCheck": "Gere o relatório outra vez, para o mesmo período: com os mesmos registros os números são os mesmos.\n" +
			"Exporte o período como bundle e confira-o com arauto audit verify ou docs/verify.py.",
		"cause": "Causa", "onTime": "no prazo", "lateEvent": "atrasadas (evento)", "lateOurs": "atrasadas (chegada)", "notifications": "notificações", "share": "no prazo (%)", "client": "iniciadora", "unknown": "sem veredito", "manual": "reenvios", "percentiles": "Após o evento",
		"retries": "Tentativas 2 e 3: no prazo / atrasadas / adiantadas", "states": "Estados", "causes": "Causas de atraso",
	},
	"en": {
		"foot": "Sealed log of %d entries, root %s", "holder": "Account holder", "initiator": "Initiator", "entries": "Entries in this document", "size": "Entries in the log",
		"noName": "(name not given)", "time": "Time", "code": "Signed checkpoint. Compare it with the one that an anchor keeps.",
		"headProves": "What this document proves", "headProvesNot": "What it does not prove", "headCheck": "How to check it without us",
		"dossierProves": "The attached entries are in the log, at the positions given, with the content that was sealed: each has its proof up to the signed root of the checkpoint.\n" +
			"The pages, including the verdicts on timing, were written from these entries after each was verified.",
		"dossierProvesNot": "That the initiator read or handled the notification: only its answer is recorded.\n" +
			"That the core gave the right time of the event: the time shown is the one that the core declared.\n" +
			"The names of institutions, which come from the registration and the settings, and the pages themselves: where they differ, the attached entries prevail.",
		"dossierCheck": "Ask the account holder for the log's public key through another channel, and compare the checkpoint with the one published outside the database (anchor).\n" +
			"arauto audit verify --key KEY FILE.pdf verifies this file; docs/verify.py, which uses none of our code, verifies the attachment bundle.zip.\n" +
			"Any PDF reader opens the attachments; sha256sums.txt lists the SHA-256 sums of the others.",
		"noPDFA":          "Fonts and attachments are embedded. The file does not claim conformance with PDF/A-3.",
		"attachedDossier": "Machine-readable dossier", "attachedBundle": "Entries, proofs, checkpoint and manifest", "attachedCheckpoint": "Signed checkpoint", "attachedKey": "The log's public key; ask for it through another channel as well",
		"report": "Report on notification deadlines", "period": "Period", "total": "Total", "byClient": "By initiator", "silent": "Changes that are not announced", "late": "Notifications that were not on time",
		"lateNote": "The complete table is the attachment breaches.csv. At most %d notifications are listed here; the period has %d.", "none": "In the entries of the period, no notification was late.",
		"integrity": "Integrity", "lacking": "Not in the log", "attachedReport": "Machine-readable totals", "attachedBreaches": "One line for each missed deadline",
		"reportProves": "Totals and list were computed from the entries of the period, each compared with the sealed log; the section Integrity says how many agree.",
		"reportProvesNot": "This file does not contain the entries, and by itself proves nothing to third parties: ask for the export (bundle) of the period, or the dossier of a resource.\n" +
			"That the core gave the right times of the events: the times shown are those that the core declared.",
		"reportCheck": "Generate the report again for the same period: the same entries give the same figures.\n" +
			"Export the period as a bundle and verify it with arauto audit verify or docs/verify.py.",
		"cause": "Cause", "onTime": "on time", "lateEvent": "late (event)", "lateOurs": "late (arrival)", "notifications": "notifications", "share": "on time (%)", "client": "initiator", "unknown": "without verdict", "manual": "resends", "percentiles": "After the event",
		"retries": "Attempts 2 and 3: on time / late / early", "states": "States", "causes": "Causes of lateness",
	},
}
