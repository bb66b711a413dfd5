-- What Arauto needs in the core's database: to read seven tables and to follow their changes. It writes nothing there.
-- The server needs wal_level = logical. Run as a superuser of the core's database; give the role its password by other
-- means than this file.

CREATE ROLE arauto_reader LOGIN REPLICATION;
GRANT SELECT ON oauth_clients, accounts, payment_consents, payments, recurring_payment_consents, recurring_payments, enrollments TO arauto_reader;
CREATE PUBLICATION arauto FOR TABLE oauth_clients, payment_consents, payments, recurring_payment_consents, recurring_payments, enrollments
  WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
