-- What the core's programs do later, each statement a transaction of its own. Beside each stands what the rules demand.

-- The payer chooses an account and authorises the consent. The rules leave this step to the bank: nobody is told.
UPDATE consentimentos SET situacao = 'AUTORIZADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo',
  expira_em = now() AT TIME ZONE 'America/Sao_Paulo' + interval '1 hour', conta_id = 7;

-- The payment is settled and the consent is consumed. The initiator is told of both.
UPDATE pagamentos SET situacao = 'LIQUIDADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo';

UPDATE consentimentos SET situacao = 'CONSUMIDO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo';

-- The payer authorises the recurring consent; nobody is told. The first payment under it is scheduled; the initiator is told.
UPDATE consentimentos_recorrentes SET situacao = 'AUTORIZADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo',
  autorizado_em = now() AT TIME ZONE 'America/Sao_Paulo', conta_id = 7;

UPDATE pagamentos_recorrentes SET situacao = 'AGENDADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo';

-- The payer cancels the scheduled payment at the bank and revokes the consent. The initiator is told of both.
UPDATE pagamentos_recorrentes SET situacao = 'CANCELADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo',
  cancelado_por = '99999999999', cancelado_em = now() AT TIME ZONE 'America/Sao_Paulo', cancelado_canal = 'DETENTORA';

UPDATE consentimentos_recorrentes SET situacao = 'REVOGADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo', encerrado_por = 'USUARIO',
  encerrado_canal = 'DETENTORA', motivo_codigo = 'REVOGADO_USUARIO', motivo_texto = 'O usuário revogou o consentimento.';

-- The enrolment of a device goes through its states; nobody is told. Then the bank's risk rules reject it; the initiator is told.
UPDATE vinculos SET situacao = 'AGUARDANDO_TITULAR', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo';

UPDATE vinculos SET situacao = 'AGUARDANDO_VINCULO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo', limite_transacao = 1000,
  limite_diario = 3000, conta_id = 7;

UPDATE vinculos SET situacao = 'REJEITADO', situacao_alterada_em = now() AT TIME ZONE 'America/Sao_Paulo', encerrado_por = '99999999999',
  encerrado_canal = 'DETENTORA', motivo_codigo = 'REJEITADO_MANUALMENTE';
