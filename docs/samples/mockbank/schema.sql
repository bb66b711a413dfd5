-- A core that was not made for us: the tables of a mock bank for Open Finance, as its own programs create them. Nothing
-- here is Arauto's, and nothing in it has to change; what we need beside it is in access.sql.
--
-- What is characteristic of it, and of many cores:
--   - ids are bare UUIDs; the URN of the APIs is put before them when they are answered
--   - an ORM writes whole rows: an update names every column, whether it changed or not
--   - status_updated_at of a payment is the zero instant, 0001-01-01, until its status changes first
--   - there is no revision: the order of changes is that of the log alone
--   - a deadline that passes changes nothing until somebody reads the row
--   - the payer's account is in a table of its own

CREATE TABLE oauth_clients (
  id           text PRIMARY KEY,
  data         jsonb NOT NULL,          -- client_name, custom_attributes.org_id and .software_id; the software statement is not kept
  webhook_uris jsonb,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE accounts (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  number      text NOT NULL,
  branch_code text NOT NULL DEFAULT '0001',
  type        text NOT NULL,            -- CONTA_DEPOSITO_A_VISTA, CONTA_POUPANCA, CONTA_PAGAMENTO_PRE_PAGA
  created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE payment_consents (
  id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  status                  text NOT NULL,
  status_updated_at       timestamptz NOT NULL DEFAULT now(),
  expires_at              timestamptz NOT NULL,
  version                 text NOT NULL, -- of the API under which it was created: v4, v5
  client_id               text NOT NULL REFERENCES oauth_clients (id),
  user_identification     text NOT NULL,
  business_identification text,
  creditor_type           text NOT NULL,
  creditor_cpf_cnpj       text NOT NULL,
  creditor_name           text NOT NULL,
  creditor_account_isbp   text NOT NULL,
  creditor_account_issuer text,
  creditor_account_number text NOT NULL,
  creditor_account_type   text NOT NULL,
  payment_type            text NOT NULL DEFAULT 'PIX',
  payment_date            date,
  payment_schedule        jsonb,
  payment_currency        text NOT NULL DEFAULT 'BRL',
  payment_amount          text NOT NULL,
  local_instrument        text NOT NULL,
  proxy                   text,
  account_id              uuid REFERENCES accounts (id),
  rejection               jsonb,         -- {"code", "detail"}
  created_at              timestamptz NOT NULL DEFAULT now(),
  updated_at              timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE payments (
  id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  consent_id              uuid NOT NULL REFERENCES payment_consents (id),
  status                  text NOT NULL,
  status_updated_at       timestamptz NOT NULL,
  end_to_end_id           text NOT NULL UNIQUE,
  client_id               text NOT NULL REFERENCES oauth_clients (id),
  version                 text NOT NULL,
  local_instrument        text NOT NULL,
  proxy                   text,
  amount                  text NOT NULL,
  currency                text NOT NULL DEFAULT 'BRL',
  creditor_account_isbp   text NOT NULL,
  creditor_account_issuer text,
  creditor_account_number text NOT NULL,
  creditor_account_type   text NOT NULL,
  cnpj_initiator          text NOT NULL,
  remittance_information  text,
  authorisation_flow      text,
  account_id              uuid NOT NULL REFERENCES accounts (id),
  date                    date,
  rejection               jsonb,         -- {"code", "detail"}
  cancellation            jsonb,         -- {"cancellation_reason", "cancellation_from", "cancelled_at", "cancelled_by"}
  created_at              timestamptz NOT NULL DEFAULT now(),
  updated_at              timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON payments (consent_id);

CREATE TABLE recurring_payment_consents (
  id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  status            text NOT NULL,
  status_updated_at timestamptz NOT NULL,
  authorized_at     timestamptz,
  approval_due_at   date,
  expires_at        timestamptz,
  client_id         text NOT NULL REFERENCES oauth_clients (id),
  user_identification text NOT NULL,
  business_identification text,
  creditors         jsonb NOT NULL,      -- [{"type", "cpf_cnpj", "name"}]
  configuration     jsonb NOT NULL,
  account_id        uuid REFERENCES accounts (id),
  rejection         jsonb,               -- {"by", "from", "code", "detail"}
  revocation        jsonb,               -- the same
  created_at        timestamptz NOT NULL DEFAULT now(),
  updated_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE recurring_payments (
  id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  consent_id              uuid NOT NULL REFERENCES recurring_payment_consents (id),
  status                  text NOT NULL,
  status_updated_at       timestamptz NOT NULL,
  end_to_end_id           text NOT NULL,
  client_id               text NOT NULL REFERENCES oauth_clients (id),
  date                    date NOT NULL,
  amount                  text NOT NULL,
  currency                text NOT NULL DEFAULT 'BRL',
  creditor_account_isbp   text NOT NULL,
  creditor_account_issuer text,
  creditor_account_number text NOT NULL,
  creditor_account_type   text NOT NULL,
  cnpj_initiator          text NOT NULL,
  remittance_information  text,
  authorisation_flow      text,
  local_instrument        text NOT NULL,
  document_identification text NOT NULL,
  document_rel            text NOT NULL,
  reference               text,
  account_id              uuid NOT NULL REFERENCES accounts (id),
  rejection               jsonb,
  cancellation            jsonb,
  created_at              timestamptz NOT NULL DEFAULT now(),
  updated_at              timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE enrollments (
  id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  status            text NOT NULL,
  status_updated_at timestamptz NOT NULL DEFAULT now(),
  permissions       jsonb NOT NULL,
  expires_at        timestamptz,
  client_id         text NOT NULL REFERENCES oauth_clients (id),
  user_identification text NOT NULL,
  account_id        uuid REFERENCES accounts (id),
  name              text,
  transaction_limit text,
  daily_limit       text,
  cancellation      jsonb,               -- {"cancellation_from", "cancelled_by", "rejection_reason" or "revocation_reason"}
  created_at        timestamptz NOT NULL DEFAULT now(),
  updated_at        timestamptz NOT NULL DEFAULT now()
);
