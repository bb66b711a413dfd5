package history

// explanation is a finding in words: what it means, and what to do about it.
type explanation struct{ en, doEN, pt, doPT string }

const (
	callEN  = "Keep everything as it is, run arauto audit verify with anchors, and call the vendor: the product does not do this by itself."
	callPT  = "Preserve tudo como está, execute arauto audit verify com âncoras e acione o fornecedor: o produto não faz isto sozinho."
	tellEN  = "Tell the initiator by hand or with a resend; then run arauto audit verify with anchors to see whether somebody wrote to the database."
	tellPT  = "Avise a iniciadora manualmente ou com um reenvio; depois execute arauto audit verify com âncoras para ver se alguém escreveu no banco de dados."
	ruleEN  = "The attempt was made outside of the rule's times or numbers. Look whether two gateways with different databases serve one initiator; then call the vendor."
	rulePT  = "A tentativa foi feita fora dos tempos ou números da regra. Veja se dois gateways com bancos diferentes atendem à mesma iniciadora; depois acione o fornecedor."
	aliveEN = "Look whether a replica runs and /readyz is 200; see the alarm queue age. It ends by itself once replicas can work."
	alivePT = "Veja se há réplica em execução e se /readyz responde 200; veja o alarme de idade da fila. Resolve-se quando as réplicas voltam a trabalhar."
)

// explanations has an entry for each finding.
var explanations = map[Finding]explanation{
	RevisionWithoutChange: {"a revision is stored that no entry of the history accepts", callEN, "há uma revisão armazenada que nenhum registro do histórico aceita", callPT},
	ChangeWithoutRevision: {"an accepted change has no stored revision", callEN, "uma mudança aceita não tem revisão armazenada", callPT},
	RevisionDiffers:       {"a change's entry and its revision tell different stories", callEN, "o registro de uma mudança e sua revisão contam histórias diferentes", callPT},
	ChangeTwice:           {"one revision was accepted twice", callEN, "uma revisão foi aceita duas vezes", callPT},
	DecisionMissing:       {"a change is neither told nor silent for a reason, or a late revision made it a duty that was not told", tellEN, "uma mudança não foi avisada nem silenciada com motivo, ou uma revisão tardia a tornou obrigatória sem aviso", tellPT},
	DecisionDiffers:       {"judged again, the rules give another decision", tellEN, "julgada de novo, as regras dão outra decisão", tellPT},
	SilenceUnfounded:      {"the reason for a silence is not borne out by the history", tellEN, "o motivo de um silêncio não se confirma no histórico", tellPT},
	ToldTwice:             {"one revision has more than one notification", callEN, "uma revisão tem mais de uma notificação", callPT},
	DocumentDiffers:       {"the current document is not that of the newest change; status queries may show a wrong state", "Have the core send the resource again with a higher revision, then " + callEN, "o documento atual não é o da mudança mais nova; consultas podem mostrar um estado errado", "Faça o core reenviar o recurso com uma revisão maior. " + callPT},
	TimerOverdue:          {"a deadline of the rules has passed and was not fired", aliveEN, "um prazo das regras venceu e não foi executado", alivePT},
	ChainUndecided:        {"there are attempts, or a place in the queue, of a notification that no change made", callEN, "há tentativas, ou lugar na fila, de uma notificação que nenhuma mudança criou", callPT},
	ChainForgotten:        {"a notification has no end and is not in the queue", tellEN, "uma notificação não terminou e não está na fila", tellPT},
	ChainOverdue:          {"a notification has been due for over an hour", aliveEN, "uma notificação está vencida há mais de uma hora", alivePT},
	ChainEndedEarly:       {"a notification ended before its third failure, or without its reason", tellEN, "uma notificação terminou antes da terceira falha, ou sem motivo", tellPT},
	ChainWentOn:           {"something follows the end of a notification", ruleEN, "algo se segue ao fim de uma notificação", rulePT},
	NumberMissing:         {"an attempt's number is left out", callEN, "falta o número de uma tentativa", callPT},
	NumberTwice:           {"one number was given to two attempts", ruleEN, "um número foi dado a duas tentativas", rulePT},
	TooManyAttempts:       {"there are more attempts than the rule allows", ruleEN, "há mais tentativas do que a regra permite", rulePT},
	AttemptEarly:          {"an attempt began before 10 s or 60 s were over", ruleEN, "uma tentativa começou antes de 10 s ou 60 s", rulePT},
	AttemptWithoutResult:  {"an attempt is over, and nothing says how it ended", callEN, "uma tentativa acabou e nada diz como", callPT},
	ResultTwice:           {"one attempt has two results", callEN, "uma tentativa tem dois resultados", callPT},
	ResultUnfounded:       {"there is a result of an attempt that was not made, or a late one of an attempt that had its result", callEN, "há resultado de tentativa que não foi feita, ou resultado tardio de tentativa que já tinha resultado", callPT},
	InteractionTwice:      {"two attempts have one interaction id", ruleEN, "duas tentativas têm o mesmo id de interação", rulePT},
	PollTwice:             {"one status query is recorded twice", callEN, "uma consulta está registrada duas vezes", callPT},
	CaseMissing:           {"a change was put aside, and it is not in quarantine", "Have the core send the change again; it is not applied. Then " + callEN, "uma mudança foi posta de lado e não está na quarentena", "Faça o core reenviar a mudança; ela não foi aplicada. " + callPT},
	CaseUndecided:         {"a case of the quarantine has no entry that made or closed it", callEN, "um caso da quarentena não tem registro que o criou ou fechou", callPT},
}

// Explain tells what a finding means and what to do, in Portuguese (pt) or English.
func (f Finding) Explain(lang string) (what, do string) {
	e := explanations[f]
	if lang == "pt" {
		return e.pt, e.doPT
	}
	return e.en, e.doEN
}
