#!/bin/sh
# Run once by the postgres image, on an empty data volume. Two accounts: `owner` migrates and owns the tables, `app`
# runs the desk. Triggers keep the audit trail append-only and the four eyes four; only an owner can switch those off,
# so a desk that was taken over still cannot.
set -eu

psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres \
    -v owner_password="$(cat "$OWNER_PASSWORD_FILE")" \
    -v app_password="$(cat "$APP_PASSWORD_FILE")" <<'SQL'
CREATE ROLE owner LOGIN PASSWORD :'owner_password';
CREATE ROLE app LOGIN PASSWORD :'app_password';
CREATE DATABASE desk OWNER owner;
REVOKE ALL ON DATABASE desk FROM PUBLIC;
GRANT CONNECT ON DATABASE desk TO app;
\connect desk
ALTER SCHEMA public OWNER TO owner;
GRANT USAGE ON SCHEMA public TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO app;
SQL
