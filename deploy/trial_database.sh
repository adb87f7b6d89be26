#!/bin/sh
# Makes the database of a trial (compose.yaml), once and as a superuser: a role each for NOVA and the site, as in
# production (docs/start.md), NOVA's tables, and statistics of who reads them.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --set password="$POSTGRES_PASSWORD" --set database="$POSTGRES_DB" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE EXTENSION pg_stat_statements;
CREATE ROLE nova LOGIN PASSWORD :'password';
CREATE ROLE nova_site LOGIN PASSWORD :'password';
GRANT pg_read_all_stats TO nova_site;
GRANT EXECUTE ON FUNCTION pg_control_system() TO nova_site;
-- Values stay out of PostgreSQL's log (docs/start.md).
ALTER ROLE nova_site IN DATABASE :"database" SET log_parameter_max_length = 0;
ALTER ROLE nova_site IN DATABASE :"database" SET log_parameter_max_length_on_error = 0;
ALTER ROLE nova_site IN DATABASE :"database" SET log_error_verbosity = terse;
CREATE SCHEMA nova_admin AUTHORIZATION nova_site;
CREATE TABLE public.clients (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    slug VARCHAR(100) NOT NULL UNIQUE,
    description TEXT,
    is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
);
CREATE TABLE public.client_database_credentials (
    id SERIAL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES public.clients(id) ON DELETE CASCADE,
    db_host VARCHAR(255) NOT NULL,
    db_port INTEGER NOT NULL DEFAULT 5432,
    db_name VARCHAR(255) NOT NULL,
    db_user VARCHAR(255) NOT NULL,
    db_password_encrypted TEXT NOT NULL,
    label VARCHAR(100),
    is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
);
CREATE TABLE public.client_email_credentials (
    id SERIAL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES public.clients(id) ON DELETE CASCADE,
    email_provider VARCHAR(50) DEFAULT 'gmail',
    imap_host VARCHAR(255) DEFAULT 'imap.gmail.com',
    imap_port INTEGER DEFAULT 993,
    smtp_host VARCHAR(255) DEFAULT 'smtp.gmail.com',
    smtp_port INTEGER DEFAULT 587,
    email_user VARCHAR(255) NOT NULL,
    email_password_encrypted TEXT NOT NULL,
    sender_whitelist TEXT,
    label VARCHAR(100),
    is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
);
ALTER TABLE public.clients OWNER TO nova;
ALTER TABLE public.client_database_credentials OWNER TO nova;
ALTER TABLE public.client_email_credentials OWNER TO nova;
GRANT SELECT, INSERT, UPDATE, REFERENCES, TRIGGER
    ON public.clients, public.client_database_credentials, public.client_email_credentials TO nova_site;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO nova_site;
SQL
