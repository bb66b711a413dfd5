-- What Arauto needs in the core's database: it reads six tables and follows the changes of five. It writes nothing there.
-- The server needs wal_level = logical. A superuser runs this in the core's database and gives the role its password by
-- other means than this file.

CREATE ROLE arauto_leitor LOGIN REPLICATION;
GRANT SELECT ON contas, consentimentos, pagamentos, consentimentos_recorrentes, pagamentos_recorrentes, vinculos TO arauto_leitor;
CREATE PUBLICATION arauto FOR TABLE consentimentos, pagamentos, consentimentos_recorrentes, pagamentos_recorrentes, vinculos
  WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
