-- The tables of a bank's core, as its own programs create them. Nothing here belongs to Arauto and nothing has to change;
-- access.sql has what Arauto needs beside them.
--
-- What is typical of this core:
--   - names and states are Portuguese
--   - a timestamp has no time zone: it is what a clock in São Paulo shows
--   - amounts of payments are counted in cents, amounts of consents are numeric
--   - the payer's account is a row of another table, unknown until the payer chooses one
--   - there is no version counter: the order of changes is the order of the database's log

CREATE TABLE contas (
  id      bigint PRIMARY KEY,
  agencia text NOT NULL,
  numero  text NOT NULL,
  tipo    text NOT NULL              -- CORRENTE, POUPANCA, PAGAMENTO
);

CREATE TABLE consentimentos (
  id                   uuid PRIMARY KEY,
  situacao             text NOT NULL, -- AGUARDANDO, PARCIAL, AUTORIZADO, REJEITADO, CONSUMIDO
  situacao_alterada_em timestamp NOT NULL,
  criado_em            timestamp NOT NULL,
  expira_em            timestamp NOT NULL,
  iniciadora           text NOT NULL, -- the initiator's client id
  cpf_usuario          text NOT NULL,
  cnpj_empresa         text,
  recebedor_tipo       text NOT NULL, -- PF, PJ
  recebedor_documento  text NOT NULL,
  recebedor_nome       text NOT NULL,
  recebedor_ispb       text NOT NULL,
  recebedor_agencia    text,
  recebedor_conta      text NOT NULL,
  data_pagamento       date NOT NULL,
  valor                numeric(15, 2) NOT NULL,
  chave_pix            text NOT NULL,
  conta_id             bigint REFERENCES contas,
  motivo_codigo        text,
  motivo_texto         text
);

CREATE TABLE pagamentos (
  id                   uuid PRIMARY KEY,
  consentimento_id     uuid NOT NULL REFERENCES consentimentos,
  situacao             text NOT NULL, -- RECEBIDO, EM_ANALISE, ACEITO, AGENDADO, EM_LIQUIDACAO, LIQUIDADO, REJEITADO, CANCELADO
  situacao_alterada_em timestamp NOT NULL,
  criado_em            timestamp NOT NULL,
  iniciadora           text NOT NULL,
  cnpj_iniciadora      text NOT NULL,
  id_fim_a_fim         text NOT NULL UNIQUE,
  valor_centavos       bigint NOT NULL,
  chave_pix            text NOT NULL,
  descricao            text,
  recebedor_ispb       text NOT NULL,
  recebedor_agencia    text,
  recebedor_conta      text NOT NULL,
  conta_id             bigint NOT NULL REFERENCES contas,
  motivo_codigo        text,
  motivo_texto         text,
  cancelado_por        text,          -- CPF of the person who cancelled it
  cancelado_em         timestamp,
  cancelado_canal      text           -- INICIADORA, DETENTORA
);

CREATE TABLE consentimentos_recorrentes (
  id                   uuid PRIMARY KEY,
  situacao             text NOT NULL, -- AGUARDANDO, PARCIAL, AUTORIZADO, REJEITADO, REVOGADO, CONSUMIDO
  situacao_alterada_em timestamp NOT NULL,
  criado_em            timestamp NOT NULL,
  autorizado_em        timestamp,
  prazo_aprovacao      date,
  expira_em            timestamp,
  iniciadora           text NOT NULL,
  cpf_usuario          text NOT NULL,
  recebedor_documento  text NOT NULL,
  recebedor_nome       text NOT NULL,
  contrato             text NOT NULL,
  devedor_cpf          text NOT NULL,
  devedor_nome         text NOT NULL,
  periodicidade        text NOT NULL, -- SEMANAL, MENSAL, TRIMESTRAL, SEMESTRAL, ANUAL
  valor_minimo         numeric(15, 2),
  valor_maximo         numeric(15, 2),
  referencia_inicio    date NOT NULL,
  aceita_retentativa   boolean NOT NULL,
  usa_limite           boolean NOT NULL,
  conta_id             bigint REFERENCES contas,
  encerrado_por        text,          -- who rejected or revoked it: INICIADORA, DETENTORA, USUARIO
  encerrado_canal      text,          -- where: INICIADORA, DETENTORA
  motivo_codigo        text,
  motivo_texto         text
);

CREATE TABLE pagamentos_recorrentes (
  id                   uuid PRIMARY KEY,
  consentimento_id     uuid NOT NULL REFERENCES consentimentos_recorrentes,
  situacao             text NOT NULL, -- the states of pagamentos
  situacao_alterada_em timestamp NOT NULL,
  criado_em            timestamp NOT NULL,
  data_liquidacao      date NOT NULL,
  iniciadora           text NOT NULL,
  cnpj_iniciadora      text NOT NULL,
  id_fim_a_fim         text NOT NULL UNIQUE,
  valor_centavos       bigint NOT NULL,
  descricao            text,
  recebedor_documento  text NOT NULL,
  recebedor_ispb       text NOT NULL,
  recebedor_agencia    text,
  recebedor_conta      text NOT NULL,
  conta_id             bigint NOT NULL REFERENCES contas,
  motivo_codigo        text,
  motivo_texto         text,
  cancelado_por        text,
  cancelado_em         timestamp,
  cancelado_canal      text
);

CREATE TABLE vinculos (               -- enrolments of a device
  id                   uuid PRIMARY KEY,
  situacao             text NOT NULL, -- AGUARDANDO_RISCO, AGUARDANDO_TITULAR, AGUARDANDO_VINCULO, AUTORIZADO, REJEITADO, REVOGADO
  situacao_alterada_em timestamp NOT NULL,
  criado_em            timestamp NOT NULL,
  expira_em            timestamp,
  iniciadora           text NOT NULL,
  cpf_usuario          text NOT NULL,
  apelido              text,
  limite_transacao     numeric(15, 2),
  limite_diario        numeric(15, 2),
  conta_id             bigint REFERENCES contas,
  encerrado_por        text,          -- CPF of the person who rejected or revoked it
  encerrado_canal      text,          -- INICIADORA, DETENTORA
  motivo_codigo        text
);
