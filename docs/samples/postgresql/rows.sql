-- Rows that are there when Arauto connects: one resource of each kind, in its first state. The first load stores them,
-- status queries answer them, and nobody is told of them. All people and companies are made up.

INSERT INTO contas VALUES (7, '0001', '94088392', 'CORRENTE');

INSERT INTO consentimentos (id, situacao, situacao_alterada_em, criado_em, expira_em, iniciadora, cpf_usuario, recebedor_tipo, recebedor_documento,
  recebedor_nome, recebedor_ispb, recebedor_agencia, recebedor_conta, data_pagamento, valor, chave_pix)
SELECT '7d0c5f1e-2b86-4c0b-9b1c-3f6f0a7d2e44', 'AGUARDANDO', agora, agora, agora + interval '5 minutes', 'alfa', '99999999999', 'PJ', '99999999000191',
  'Loja Fictícia Ltda', '99999004', '1774', '1234567890', agora::date, 150.25, '99999999000191'
FROM (SELECT now() AT TIME ZONE 'America/Sao_Paulo') AS relogio (agora);

INSERT INTO pagamentos (id, consentimento_id, situacao, situacao_alterada_em, criado_em, iniciadora, cnpj_iniciadora, id_fim_a_fim, valor_centavos,
  chave_pix, descricao, recebedor_ispb, recebedor_agencia, recebedor_conta, conta_id)
SELECT '3f0c1d52-8a35-4a43-9f0a-6f1c2a9d7e11', '7d0c5f1e-2b86-4c0b-9b1c-3f6f0a7d2e44', 'RECEBIDO', agora, agora, 'alfa', '99999999000272',
  'E99999004202611211200EXEMPLO0001', 15025, '99999999000191', 'Compra fictícia', '99999004', '1774', '1234567890', 7
FROM (SELECT now() AT TIME ZONE 'America/Sao_Paulo') AS relogio (agora);

INSERT INTO consentimentos_recorrentes (id, situacao, situacao_alterada_em, criado_em, expira_em, iniciadora, cpf_usuario, recebedor_documento,
  recebedor_nome, contrato, devedor_cpf, devedor_nome, periodicidade, valor_minimo, valor_maximo, referencia_inicio, aceita_retentativa, usa_limite)
SELECT '5b0f6a1c-0c7d-4f3a-8d59-2e4b7c9a1f60', 'AGUARDANDO', agora, agora, date_trunc('day', agora) + interval '1 year' - interval '3 hours 1 second',
  'alfa', '99999999999', '99999999000191', 'Academia Fictícia Ltda', 'CONTRATO123456', '99999999999', 'Pessoa Fictícia', 'MENSAL', 50, 500,
  agora::date + 5, true, false
FROM (SELECT now() AT TIME ZONE 'America/Sao_Paulo') AS relogio (agora);

INSERT INTO pagamentos_recorrentes (id, consentimento_id, situacao, situacao_alterada_em, criado_em, data_liquidacao, iniciadora, cnpj_iniciadora,
  id_fim_a_fim, valor_centavos, descricao, recebedor_documento, recebedor_ispb, recebedor_agencia, recebedor_conta, conta_id)
SELECT 'a4d2e7b9-6c31-4b58-9e70-1f8c5d3b2a96', '5b0f6a1c-0c7d-4f3a-8d59-2e4b7c9a1f60', 'RECEBIDO', agora, agora, agora::date + 3, 'alfa', '99999999000272',
  'E99999004' || to_char(agora + interval '3 days', 'YYYYMMDD') || '1500EXEMPLO0002', 9990, 'Mensalidade fictícia', '99999999000191', '99999004', '1774',
  '1234567890', 7
FROM (SELECT now() AT TIME ZONE 'America/Sao_Paulo') AS relogio (agora);

INSERT INTO vinculos (id, situacao, situacao_alterada_em, criado_em, expira_em, iniciadora, cpf_usuario, apelido)
SELECT 'c2b9f0d4-71e6-4a0d-b5c8-9d3e6f1a7b25', 'AGUARDANDO_RISCO', agora, agora, agora + interval '2 years', 'alfa', '99999999999', 'Celular fictício'
FROM (SELECT now() AT TIME ZONE 'America/Sao_Paulo') AS relogio (agora);
