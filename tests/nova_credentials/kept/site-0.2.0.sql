SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA nova_admin;
CREATE FUNCTION nova_admin.count_write() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $$
BEGIN
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            INSERT INTO nova_admin.credentials_countinggap (proved_at, found_at) VALUES (now(), clock_timestamp());
        ELSIF TG_TABLE_NAME = 'clients' THEN
            INSERT INTO nova_admin.credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.id, NEW.id]) AS id WHERE id IS NOT NULL;
        ELSE
            INSERT INTO nova_admin.credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.client_id, NEW.client_id]) AS id WHERE id IS NOT NULL;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'NOVA Admin could not count this write (SQLSTATE %)', SQLSTATE;
    END;
    IF TG_TABLE_NAME = 'clients' AND TG_OP IN ('INSERT', 'UPDATE') THEN
        BEGIN
            IF TG_OP = 'INSERT' THEN
                UPDATE nova_admin.migration_clientmigration SET secret_slug = NEW.slug, other_slug = NULL
                WHERE client_id = NEW.id;
            ELSIF OLD.slug IS DISTINCT FROM NEW.slug THEN
                UPDATE nova_admin.migration_clientmigration
                SET secret_slug = nullif(coalesce(secret_slug, OLD.slug), NEW.slug)
                WHERE client_id = NEW.id AND layout IS NOT NULL;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RAISE;
        WHEN OTHERS THEN
            RAISE WARNING 'NOVA Admin could not note the former slug (SQLSTATE %)', SQLSTATE;
        END;
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION nova_admin.note_read() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    -- Whoever counts writes what it likes: no number is too large for these.
    matched numeric := NEW.matches;
    compared numeric := NEW.matches::numeric + NEW.mismatches;
    failed numeric := NEW.aws_failures;
    counted numeric := NEW.reads;
    outcome text := coalesce(current_setting('nova_reader.outcome', true), '');
BEGIN
    IF TG_OP = 'UPDATE' THEN
        matched := matched - OLD.matches;
        compared := compared - OLD.matches - OLD.mismatches;
        failed := failed - OLD.aws_failures;
        counted := counted - OLD.reads;
    END IF;
    IF outcome = 'congested' THEN
        NEW.congested_reads := NEW.congested_reads + 1;
    ELSIF outcome = 'stale' THEN
        NEW.stale_reads := NEW.stale_reads + 1;
        outcome := 'unavailable';
    END IF;
    IF counted > compared + failed THEN
        NEW.last_answer_at := now();
        -- In dual read it was not compared, as a push was pending: AWS's answer was not looked at.
        IF EXISTS (
            SELECT FROM nova_admin.migration_clientmigration
            WHERE client_id = NEW.client_id AND phase IN ('aws', 'purged')
        ) THEN
            matched := matched + counted - compared - failed;
        END IF;
    END IF;
    IF failed > 0 THEN
        NEW.last_failure_at := now();
        NEW.last_failure_class := left(outcome, 20);
        NEW.good_reads_since_failure := 0;
    ELSIF matched > 0 THEN
        NEW.good_reads_since_failure := least(NEW.good_reads_since_failure + matched, 9223372036854775807);
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION nova_admin.refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'The audit is never changed or deleted: %', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE FUNCTION nova_admin.refuse_user_deletion() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'users are deactivated, never deleted' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE FUNCTION nova_admin.writes_are_counted() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $$
BEGIN
    RETURN (
(SELECT count(DISTINCT (tgrelid, tgtype)) = 8
    AND coalesce(string_agg(oid::text || ':' || xmin::text, ' ' ORDER BY oid) = (SELECT identities FROM nova_admin.credentials_countingtriggers), true) FROM 
pg_catalog.pg_trigger
WHERE tgrelid IN ((SELECT to_regclass('public.clients')), (SELECT to_regclass('public.client_database_credentials')), (SELECT to_regclass('public.client_email_credentials')), (SELECT to_regclass('nova_admin.client_aws_credentials'))) AND tgfoid = (SELECT to_regprocedure('nova_admin.count_write()'))
    AND tgtype IN (29, 34) AND tgenabled IN ('O', 'A')
    AND tgqual IS NULL AND tgattr::text = ''
)
 AND (NOT EXISTS (SELECT FROM nova_admin.credentials_countinggap WHERE ended_at IS NULL)));
END
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE nova_admin.account_emailaddress (
    id integer NOT NULL,
    email character varying(254) NOT NULL,
    verified boolean NOT NULL,
    "primary" boolean NOT NULL,
    user_id integer NOT NULL
);
ALTER TABLE nova_admin.account_emailaddress ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.account_emailaddress_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.account_emailconfirmation (
    id integer NOT NULL,
    created timestamp with time zone NOT NULL,
    sent timestamp with time zone,
    key character varying(64) NOT NULL,
    email_address_id integer NOT NULL
);
ALTER TABLE nova_admin.account_emailconfirmation ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.account_emailconfirmation_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.auth_group (
    id integer NOT NULL,
    name character varying(150) NOT NULL
);
ALTER TABLE nova_admin.auth_group ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.auth_group_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.auth_group_permissions (
    id bigint NOT NULL,
    group_id integer NOT NULL,
    permission_id integer NOT NULL
);
ALTER TABLE nova_admin.auth_group_permissions ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.auth_group_permissions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.auth_permission (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    content_type_id integer NOT NULL,
    codename character varying(100) NOT NULL
);
ALTER TABLE nova_admin.auth_permission ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.auth_permission_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.auth_user (
    id integer NOT NULL,
    password character varying(128) NOT NULL,
    last_login timestamp with time zone,
    is_superuser boolean NOT NULL,
    username character varying(150) NOT NULL,
    first_name character varying(150) NOT NULL,
    last_name character varying(150) NOT NULL,
    email character varying(254) NOT NULL,
    is_staff boolean NOT NULL,
    is_active boolean NOT NULL,
    date_joined timestamp with time zone NOT NULL
);
CREATE TABLE nova_admin.auth_user_groups (
    id bigint NOT NULL,
    user_id integer NOT NULL,
    group_id integer NOT NULL
);
ALTER TABLE nova_admin.auth_user_groups ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.auth_user_groups_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE nova_admin.auth_user ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.auth_user_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.auth_user_user_permissions (
    id bigint NOT NULL,
    user_id integer NOT NULL,
    permission_id integer NOT NULL
);
ALTER TABLE nova_admin.auth_user_user_permissions ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.auth_user_user_permissions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.axes_accessattempt (
    id integer NOT NULL,
    user_agent character varying(255) NOT NULL,
    ip_address inet,
    username character varying(255),
    http_accept character varying(1025) NOT NULL,
    path_info character varying(255) NOT NULL,
    attempt_time timestamp with time zone NOT NULL,
    get_data text NOT NULL,
    post_data text NOT NULL,
    failures_since_start integer NOT NULL,
    CONSTRAINT axes_accessattempt_failures_since_start_check CHECK ((failures_since_start >= 0))
);
ALTER TABLE nova_admin.axes_accessattempt ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.axes_accessattempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.axes_accessattemptexpiration (
    access_attempt_id integer NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE nova_admin.axes_accessfailurelog (
    id integer NOT NULL,
    user_agent character varying(255) NOT NULL,
    ip_address inet,
    username character varying(255),
    http_accept character varying(1025) NOT NULL,
    path_info character varying(255) NOT NULL,
    attempt_time timestamp with time zone NOT NULL,
    locked_out boolean NOT NULL
);
ALTER TABLE nova_admin.axes_accessfailurelog ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.axes_accessfailurelog_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.axes_accesslog (
    id integer NOT NULL,
    user_agent character varying(255) NOT NULL,
    ip_address inet,
    username character varying(255),
    http_accept character varying(1025) NOT NULL,
    path_info character varying(255) NOT NULL,
    attempt_time timestamp with time zone NOT NULL,
    logout_time timestamp with time zone,
    session_hash character varying(64) NOT NULL
);
ALTER TABLE nova_admin.axes_accesslog ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.axes_accesslog_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.client_aws_credentials (
    id integer NOT NULL,
    client_id integer NOT NULL,
    access_key_id character varying(255) NOT NULL,
    secret_access_key text NOT NULL,
    region character varying(50) DEFAULT 'us-east-1'::character varying,
    label character varying(100),
    is_primary boolean DEFAULT true,
    created_at timestamp without time zone DEFAULT now() NOT NULL,
    updated_at timestamp without time zone DEFAULT now() NOT NULL
);
CREATE SEQUENCE nova_admin.client_aws_credentials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE nova_admin.client_aws_credentials_id_seq OWNED BY nova_admin.client_aws_credentials.id;
CREATE TABLE nova_admin.credentials_acceptedobject (
    id bigint NOT NULL,
    kind character varying(40) NOT NULL,
    name text NOT NULL,
    "table" character varying(100) NOT NULL,
    owner text NOT NULL,
    digest character varying(64) NOT NULL,
    reason text NOT NULL,
    username character varying(150) NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    accepted_by_id integer,
    CONSTRAINT accepted_reason_is_short CHECK ((length(reason) <= 500))
);
ALTER TABLE nova_admin.credentials_acceptedobject ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.credentials_acceptedobject_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.credentials_clientrevision (
    client_id integer NOT NULL,
    revision bigint DEFAULT 0 NOT NULL,
    pushed_revision bigint,
    pending_since timestamp with time zone,
    pushed_at timestamp with time zone
);
CREATE TABLE nova_admin.credentials_clientwrite (
    id bigint NOT NULL,
    client_id integer NOT NULL,
    written_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL
);
ALTER TABLE nova_admin.credentials_clientwrite ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.credentials_clientwrite_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.credentials_columnmapping (
    id bigint NOT NULL,
    "table" character varying(100) NOT NULL,
    "column" text NOT NULL,
    use character varying(10) NOT NULL,
    column_type text NOT NULL,
    username character varying(150) NOT NULL,
    mapped_at timestamp with time zone NOT NULL,
    mapped_by_id integer
);
ALTER TABLE nova_admin.credentials_columnmapping ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.credentials_columnmapping_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.credentials_countinggap (
    id bigint NOT NULL,
    proved_at timestamp with time zone,
    found_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone
);
ALTER TABLE nova_admin.credentials_countinggap ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.credentials_countinggap_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.credentials_countingproof (
    "table" character varying(100) NOT NULL,
    outcome character varying(10) NOT NULL,
    tried_at timestamp with time zone NOT NULL,
    held_at timestamp with time zone
);
CREATE TABLE nova_admin.credentials_countingtriggers (
    id bigint NOT NULL,
    identities text NOT NULL
);
ALTER TABLE nova_admin.credentials_countingtriggers ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.credentials_countingtriggers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.django_admin_log (
    id integer NOT NULL,
    action_time timestamp with time zone NOT NULL,
    object_id text,
    object_repr character varying(200) NOT NULL,
    action_flag smallint NOT NULL,
    change_message text NOT NULL,
    content_type_id integer,
    user_id integer NOT NULL,
    CONSTRAINT django_admin_log_action_flag_check CHECK ((action_flag >= 0))
);
ALTER TABLE nova_admin.django_admin_log ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.django_admin_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.django_content_type (
    id integer NOT NULL,
    app_label character varying(100) NOT NULL,
    model character varying(100) NOT NULL
);
ALTER TABLE nova_admin.django_content_type ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.django_content_type_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.django_migrations (
    id bigint NOT NULL,
    app character varying(255) NOT NULL,
    name character varying(255) NOT NULL,
    applied timestamp with time zone NOT NULL
);
ALTER TABLE nova_admin.django_migrations ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.django_migrations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.django_q_ormq (
    id integer NOT NULL,
    key character varying(100) NOT NULL,
    payload text NOT NULL,
    lock timestamp with time zone
);
ALTER TABLE nova_admin.django_q_ormq ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.django_q_ormq_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.django_q_schedule (
    id integer NOT NULL,
    func character varying(256) NOT NULL,
    hook character varying(256),
    args text,
    kwargs text,
    schedule_type character varying(2) NOT NULL,
    repeats integer NOT NULL,
    next_run timestamp with time zone,
    task character varying(100),
    name character varying(100),
    minutes smallint,
    cron character varying(100),
    cluster character varying(100),
    intended_date_kwarg character varying(100),
    CONSTRAINT django_q_schedule_minutes_check CHECK ((minutes >= 0))
);
ALTER TABLE nova_admin.django_q_schedule ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.django_q_schedule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.django_q_task (
    name character varying(100) NOT NULL,
    func character varying(256) NOT NULL,
    hook character varying(256),
    args text,
    kwargs text,
    result text,
    started timestamp with time zone NOT NULL,
    stopped timestamp with time zone NOT NULL,
    success boolean NOT NULL,
    id character varying(32) NOT NULL,
    "group" character varying(100),
    attempt_count integer NOT NULL,
    cluster character varying(100)
);
CREATE TABLE nova_admin.django_session (
    session_key character varying(40) NOT NULL,
    session_data text NOT NULL,
    expire_date timestamp with time zone NOT NULL
);
CREATE TABLE nova_admin.mfa_authenticator (
    id bigint NOT NULL,
    type character varying(20) NOT NULL,
    data jsonb NOT NULL,
    user_id integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone
);
ALTER TABLE nova_admin.mfa_authenticator ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.mfa_authenticator_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_auditcheckpoint (
    "position" bigint NOT NULL,
    link_signature character varying(64) NOT NULL,
    made_at timestamp with time zone NOT NULL,
    who character varying(150) NOT NULL,
    exported character varying(64) NOT NULL,
    key character varying(16) NOT NULL,
    signature character varying(64) NOT NULL
);
CREATE TABLE nova_admin.migration_auditevent (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    code character varying(32) NOT NULL,
    who character varying(150) NOT NULL,
    origin character varying(200) NOT NULL,
    client_id integer,
    slug character varying(100) NOT NULL,
    reason text NOT NULL,
    facts text NOT NULL,
    correlation character varying(40) NOT NULL,
    key character varying(16) NOT NULL,
    signature character varying(64) NOT NULL,
    CONSTRAINT auditevent_reason_is_short CHECK ((length(reason) <= 500))
);
CREATE TABLE nova_admin.migration_auditlink (
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    key character varying(16) NOT NULL,
    signature character varying(64) NOT NULL,
    sealed_at timestamp with time zone
);
CREATE TABLE nova_admin.migration_campaign (
    id bigint NOT NULL,
    state character varying(16) NOT NULL,
    goal character varying(16) NOT NULL,
    wave_size integer NOT NULL,
    soak_minutes integer NOT NULL,
    most_mismatches integer NOT NULL,
    most_failed_reads integer NOT NULL,
    most_refused integer NOT NULL,
    begins_at time without time zone,
    ends_at time without time zone,
    rolls_back boolean NOT NULL,
    reason text NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    approved_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    approved_at timestamp with time zone,
    steered_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    stopped_because jsonb,
    created_at timestamp with time zone NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    approved_by_id integer,
    by_id integer,
    steered_by_id integer,
    asked_at timestamp with time zone,
    CONSTRAINT campaign_approved_by_another CHECK ((NOT ((approved_by_id = by_id) AND (approved_by_id IS NOT NULL) AND (by_id IS NOT NULL)))),
    CONSTRAINT campaign_approved_by_is_named CHECK (((approved_by_id IS NULL) OR (NOT ((approved_by_name)::text = ''::text)))),
    CONSTRAINT campaign_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT campaign_hours_have_two_ends CHECK ((((begins_at IS NULL) AND (ends_at IS NULL)) OR ((begins_at IS NOT NULL) AND (ends_at IS NOT NULL)))),
    CONSTRAINT campaign_never_purges CHECK (((goal)::text = ANY ('{dual_write,dual_read,aws}'::text[]))),
    CONSTRAINT campaign_reason_is_short CHECK ((length(reason) <= 500)),
    CONSTRAINT campaign_steered_by_is_named CHECK (((steered_by_id IS NULL) OR (NOT ((steered_by_name)::text = ''::text)))),
    CONSTRAINT migration_campaign_most_failed_reads_check CHECK ((most_failed_reads >= 0)),
    CONSTRAINT migration_campaign_most_mismatches_check CHECK ((most_mismatches >= 0)),
    CONSTRAINT migration_campaign_most_refused_check CHECK ((most_refused >= 0)),
    CONSTRAINT migration_campaign_soak_minutes_check CHECK ((soak_minutes >= 0)),
    CONSTRAINT migration_campaign_wave_size_check CHECK ((wave_size >= 0))
);
ALTER TABLE nova_admin.migration_campaign ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_campaign_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_clientcomment (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    text text NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    left_at timestamp with time zone NOT NULL,
    by_id integer,
    client_id integer NOT NULL,
    CONSTRAINT clientcomment_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT clientcomment_text_is_short CHECK ((length(text) <= 500))
);
ALTER TABLE nova_admin.migration_clientcomment ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_clientcomment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_clientgroup (
    id bigint NOT NULL,
    name character varying(100) NOT NULL,
    key character varying(300) NOT NULL
);
ALTER TABLE nova_admin.migration_clientgroup ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_clientgroup_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_clientmigration (
    client_id integer NOT NULL,
    phase character varying(16) NOT NULL,
    phase_changed_at timestamp with time zone,
    comparison_id bigint,
    clean_streak integer DEFAULT 0 NOT NULL,
    refused_revision bigint,
    comparison_status character varying(20),
    compared_at timestamp with time zone,
    streak_counted_at timestamp with time zone,
    reads_at_entry jsonb DEFAULT '{}'::jsonb NOT NULL,
    layout character varying(16),
    other_secrets character varying(8) DEFAULT ''::character varying NOT NULL,
    other_secrets_since timestamp with time zone,
    secret_slug character varying(512),
    other_slug character varying(512),
    CONSTRAINT migration_clientmigration_clean_streak_check CHECK ((clean_streak >= 0))
);
CREATE TABLE nova_admin.migration_clientowner (
    client_id integer NOT NULL,
    since timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    owner_id integer NOT NULL
);
CREATE TABLE nova_admin.migration_comparison (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    status character varying(20) NOT NULL,
    error_class character varying(16) NOT NULL,
    message jsonb,
    mismatches jsonb NOT NULL,
    revision bigint NOT NULL,
    compared_at timestamp with time zone NOT NULL,
    client_id integer NOT NULL,
    run_id bigint
);
ALTER TABLE nova_admin.migration_comparison ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_comparison_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_condition (
    id bigint NOT NULL,
    event character varying(32) NOT NULL,
    subject character varying(100) NOT NULL,
    facts jsonb,
    began_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
ALTER TABLE nova_admin.migration_condition ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_condition_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_copysearch (
    id bigint NOT NULL,
    requested_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    started_at timestamp with time zone,
    seen_at timestamp with time zone,
    finished_at timestamp with time zone,
    clients integer DEFAULT 0 NOT NULL,
    bytes_read bigint DEFAULT 0 NOT NULL,
    tables_done integer DEFAULT 0 NOT NULL,
    tables integer DEFAULT 0 NOT NULL,
    by_id integer,
    interrupted_at timestamp with time zone,
    in_background boolean DEFAULT false NOT NULL,
    tries smallint DEFAULT 0 NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT copysearch_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT migration_copysearch_clients_check CHECK ((clients >= 0)),
    CONSTRAINT migration_copysearch_tables_check CHECK ((tables >= 0)),
    CONSTRAINT migration_copysearch_tables_done_check CHECK ((tables_done >= 0)),
    CONSTRAINT migration_copysearch_tries_check CHECK ((tries >= 0))
);
ALTER TABLE nova_admin.migration_copysearch ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_copysearch_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_dailycomparisons (
    id bigint NOT NULL,
    day date NOT NULL,
    status character varying(20) NOT NULL,
    number bigint NOT NULL
);
ALTER TABLE nova_admin.migration_dailycomparisons ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_dailycomparisons_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_databaseclaim (
    id bigint NOT NULL,
    system_identifier character varying(30) NOT NULL,
    database_oid bigint NOT NULL,
    place text NOT NULL,
    aws text NOT NULL,
    reason text NOT NULL,
    claimed_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    by_id integer,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    facts jsonb,
    CONSTRAINT databaseclaim_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT databaseclaim_reason_is_short CHECK ((length(reason) <= 500))
);
ALTER TABLE nova_admin.migration_databaseclaim ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_databaseclaim_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_foundcopy (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    "table" character varying(200) NOT NULL,
    "column" character varying(100) NOT NULL,
    rows bigint NOT NULL,
    client_id integer NOT NULL,
    search_id bigint NOT NULL
);
ALTER TABLE nova_admin.migration_foundcopy ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_foundcopy_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_groupmember (
    id bigint NOT NULL,
    client_id integer NOT NULL,
    group_id bigint NOT NULL,
    added_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL
);
ALTER TABLE nova_admin.migration_groupmember ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_groupmember_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_keptcounts (
    id bigint NOT NULL,
    counted_at timestamp with time zone NOT NULL,
    counts jsonb NOT NULL
);
ALTER TABLE nova_admin.migration_keptcounts ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_keptcounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_knownvalue (
    id bigint NOT NULL,
    kind character varying(16) NOT NULL,
    credential_id integer NOT NULL,
    digest character varying(64) NOT NULL,
    key_id character varying(16) NOT NULL,
    since timestamp with time zone NOT NULL,
    set_at timestamp with time zone NOT NULL,
    replaced_at timestamp with time zone,
    stands_in_tables boolean NOT NULL,
    stood_in_tables boolean NOT NULL,
    stood_in_copy boolean DEFAULT false NOT NULL,
    stood_in_legacy boolean DEFAULT false NOT NULL,
    client_id integer NOT NULL
);
ALTER TABLE nova_admin.migration_knownvalue ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_knownvalue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE UNLOGGED TABLE nova_admin.migration_lease (
    id bigint NOT NULL,
    kind smallint NOT NULL,
    key bigint NOT NULL,
    pid integer,
    session_key bigint,
    taken_at timestamp with time zone
)
WITH (fillfactor='50');
ALTER TABLE nova_admin.migration_lease ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_lease_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_logintest (
    id bigint NOT NULL,
    kind character varying(16) NOT NULL,
    credential_id integer,
    label character varying(100) NOT NULL,
    store character varying(8) NOT NULL,
    outcome character varying(16) NOT NULL,
    service character varying(8) NOT NULL,
    is_newest boolean DEFAULT true NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    by_id integer,
    client_id integer NOT NULL,
    tested_at timestamp with time zone NOT NULL,
    CONSTRAINT logintest_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text))))
);
ALTER TABLE nova_admin.migration_logintest ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_logintest_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_moverequest (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    old character varying(16) NOT NULL,
    new character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    reasons jsonb NOT NULL,
    reason text NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    decided_at timestamp with time zone,
    client_id integer NOT NULL,
    decided_by_id integer,
    requested_by_id integer,
    overridden jsonb DEFAULT '[]'::jsonb NOT NULL,
    override_reason text DEFAULT ''::text NOT NULL,
    decided_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    requested_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT approved_by_another CHECK ((NOT ((decided_by_id = requested_by_id) AND (decided_by_id IS NOT NULL) AND (requested_by_id IS NOT NULL) AND ((state)::text = 'done'::text)))),
    CONSTRAINT moverequest_decided_by_is_named CHECK (((decided_by_id IS NULL) OR (NOT ((decided_by_name)::text = ''::text)))),
    CONSTRAINT moverequest_override_reason_is_short CHECK ((length(override_reason) <= 500)),
    CONSTRAINT moverequest_reason_is_short CHECK ((char_length(reason) <= 500)),
    CONSTRAINT moverequest_requested_by_is_named CHECK (((requested_by_id IS NULL) OR (NOT ((requested_by_name)::text = ''::text))))
);
ALTER TABLE nova_admin.migration_moverequest ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_moverequest_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_notedclient (
    client_id integer NOT NULL,
    revision bigint NOT NULL,
    key_id character varying(16) NOT NULL
);
CREATE TABLE nova_admin.migration_notice (
    id bigint NOT NULL,
    event character varying(32) NOT NULL,
    key character varying(200) NOT NULL,
    facts jsonb,
    digest character varying(200) DEFAULT ''::character varying NOT NULL,
    number integer DEFAULT 1 NOT NULL,
    names jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    handed_out_at timestamp with time zone,
    recipient_id integer,
    run_id bigint,
    CONSTRAINT migration_notice_number_check CHECK ((number >= 0))
);
ALTER TABLE nova_admin.migration_notice ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_notice_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_noticedelivery (
    id bigint NOT NULL,
    way character varying(8) NOT NULL,
    target character varying(64) NOT NULL,
    host character varying(255) NOT NULL,
    state character varying(8) NOT NULL,
    outcome character varying(16) NOT NULL,
    status smallint,
    tries smallint NOT NULL,
    tried_at timestamp with time zone,
    next_try_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    notice_id bigint NOT NULL,
    user_id integer,
    CONSTRAINT migration_noticedelivery_status_check CHECK ((status >= 0)),
    CONSTRAINT migration_noticedelivery_tries_check CHECK ((tries >= 0))
);
ALTER TABLE nova_admin.migration_noticedelivery ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_noticedelivery_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_noticerule (
    event character varying(32) NOT NULL,
    by_mail boolean NOT NULL,
    by_webhook boolean NOT NULL
);
CREATE TABLE nova_admin.migration_offboarding (
    client_id integer NOT NULL,
    slug character varying(100) NOT NULL,
    state character varying(16) NOT NULL,
    former_phase character varying(16) NOT NULL,
    deletions jsonb DEFAULT '{}'::jsonb NOT NULL,
    reason text NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    by_id integer,
    CONSTRAINT offboarding_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT offboarding_reason_is_short CHECK ((length(reason) <= 500))
);
CREATE TABLE nova_admin.migration_openmismatch (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    path text NOT NULL,
    kind character varying(16) NOT NULL,
    hint character varying(32) NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    times integer NOT NULL,
    client_id integer NOT NULL,
    comparison_id bigint NOT NULL,
    assignee_id integer,
    CONSTRAINT migration_openmismatch_times_check CHECK ((times >= 0))
);
ALTER TABLE nova_admin.migration_openmismatch ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_openmismatch_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_otherstatement (
    id bigint NOT NULL,
    role character varying(63) NOT NULL,
    statement_id bigint NOT NULL,
    tables character varying(255) NOT NULL,
    calls bigint NOT NULL,
    first_noticed_at timestamp with time zone NOT NULL,
    noticed_at timestamp with time zone NOT NULL,
    called_at timestamp with time zone
);
ALTER TABLE nova_admin.migration_otherstatement ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_otherstatement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_passwordreset (
    id bigint NOT NULL,
    user_id integer,
    user_name character varying(150) DEFAULT ''::character varying NOT NULL,
    by_id integer,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    what character varying(16) NOT NULL,
    reset_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT passwordreset_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT passwordreset_user_is_named CHECK (((user_id IS NULL) OR (NOT ((user_name)::text = ''::text))))
);
ALTER TABLE nova_admin.migration_passwordreset ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_passwordreset_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_phasechange (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    old character varying(16) NOT NULL,
    new character varying(16) NOT NULL,
    note jsonb,
    changed_at timestamp with time zone NOT NULL,
    by_id integer,
    client_id integer NOT NULL,
    comparison_id bigint,
    run_id bigint,
    reads_before jsonb DEFAULT '{}'::jsonb NOT NULL,
    reason text NOT NULL,
    overridden jsonb DEFAULT '[]'::jsonb NOT NULL,
    override_reason text DEFAULT ''::text NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT phasechange_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT phasechange_override_reason_is_short CHECK ((length(override_reason) <= 500)),
    CONSTRAINT phasechange_reason_is_short CHECK ((char_length(reason) <= 500))
);
ALTER TABLE nova_admin.migration_phasechange ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_phasechange_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_plannedversion (
    version_id character varying(64) NOT NULL,
    planned_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL
);
CREATE TABLE nova_admin.migration_planrow (
    id bigint NOT NULL,
    look uuid NOT NULL,
    client_id integer NOT NULL,
    plan_class character varying(16) NOT NULL,
    content jsonb NOT NULL,
    plan_id bigint NOT NULL
);
ALTER TABLE nova_admin.migration_planrow ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_planrow_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_rate (
    kind character varying(8) NOT NULL,
    per_second double precision,
    next_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    share double precision DEFAULT 1.0 NOT NULL,
    throttled_at timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    throttled bigint DEFAULT 0 NOT NULL
);
CREATE TABLE nova_admin.migration_readcount (
    client_id integer NOT NULL,
    reads bigint DEFAULT 0 NOT NULL,
    matches bigint DEFAULT 0 NOT NULL,
    mismatches bigint DEFAULT 0 NOT NULL,
    aws_failures bigint DEFAULT 0 NOT NULL,
    last_read_at timestamp with time zone,
    last_mismatch_at timestamp with time zone,
    counted_since timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    last_failure_at timestamp with time zone,
    last_answer_at timestamp with time zone,
    last_failure_class character varying(20) DEFAULT ''::character varying NOT NULL,
    good_reads_since_failure bigint DEFAULT 0 NOT NULL,
    congested_reads bigint DEFAULT 0 NOT NULL,
    stale_reads bigint DEFAULT 0 NOT NULL,
    CONSTRAINT readcount_times_can_be_read CHECK ((((last_read_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (last_read_at <= '9000-01-01 00:00:00+00'::timestamp with time zone)) AND ((last_mismatch_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (last_mismatch_at <= '9000-01-01 00:00:00+00'::timestamp with time zone)) AND ((last_failure_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (last_failure_at <= '9000-01-01 00:00:00+00'::timestamp with time zone)) AND ((last_answer_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (last_answer_at <= '9000-01-01 00:00:00+00'::timestamp with time zone)) AND ((counted_since >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (counted_since <= '9000-01-01 00:00:00+00'::timestamp with time zone))))
);
CREATE TABLE nova_admin.migration_readerprocess (
    key uuid NOT NULL,
    host character varying(255) DEFAULT ''::character varying NOT NULL,
    process_id bigint DEFAULT 0 NOT NULL,
    version character varying(50) DEFAULT ''::character varying NOT NULL,
    access_key_end character varying(4) DEFAULT ''::character varying NOT NULL,
    aws_error character varying(50) DEFAULT ''::character varying NOT NULL,
    aws_error_at timestamp with time zone,
    first_seen_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    last_read_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT readerprocess_times_can_be_read CHECK ((((aws_error_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (aws_error_at <= '9000-01-01 00:00:00+00'::timestamp with time zone)) AND ((first_seen_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (first_seen_at <= '9000-01-01 00:00:00+00'::timestamp with time zone)) AND ((last_read_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (last_read_at <= '9000-01-01 00:00:00+00'::timestamp with time zone))))
);
CREATE TABLE nova_admin.migration_redaction (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    "table" character varying(200) NOT NULL,
    "column" character varying(100) NOT NULL,
    rows bigint NOT NULL,
    redacted_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    client_id integer NOT NULL
);
ALTER TABLE nova_admin.migration_redaction ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_redaction_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_resolution (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    kind character varying(16) NOT NULL,
    reason text NOT NULL,
    message jsonb,
    mismatches jsonb NOT NULL,
    until date,
    resolved_at timestamp with time zone NOT NULL,
    by_id integer,
    client_id integer NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    kept_versions jsonb,
    revision bigint,
    CONSTRAINT resolution_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT resolution_reason_is_short CHECK ((char_length(reason) <= 500))
);
ALTER TABLE nova_admin.migration_resolution ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_resolution_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_reveal (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    kind character varying(16) NOT NULL,
    credential_id integer NOT NULL,
    field character varying(64) NOT NULL,
    username character varying(150) NOT NULL,
    reason text NOT NULL,
    address character varying(200) NOT NULL,
    revealed_at timestamp with time zone NOT NULL,
    by_id integer,
    client_id integer NOT NULL,
    CONSTRAINT reveal_reason_is_short CHECK ((char_length(reason) <= 500))
);
ALTER TABLE nova_admin.migration_reveal ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_reveal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_rolegrant (
    id bigint NOT NULL,
    group_id integer NOT NULL,
    permission_id integer NOT NULL
);
ALTER TABLE nova_admin.migration_rolegrant ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_rolegrant_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_rotation (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    credential_type character varying(16) NOT NULL,
    label character varying(100),
    step character varying(16) NOT NULL,
    outcome character varying(16) NOT NULL,
    version_id character varying(64) NOT NULL,
    message jsonb,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    tried_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    by_id integer,
    client_id integer NOT NULL,
    secret_name character varying(512) DEFAULT ''::character varying NOT NULL,
    role jsonb,
    CONSTRAINT rotation_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT rotation_with_outcome_ended CHECK (((((outcome)::text = ''::text) OR (ended_at IS NOT NULL)) AND (1 = (
CASE
    WHEN ((outcome)::text = ''::text) THEN 1
    ELSE 0
END +
CASE
    WHEN (ended_at IS NOT NULL) THEN 1
    ELSE 0
END))))
);
ALTER TABLE nova_admin.migration_rotation ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_rotation_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_rotationschedule (
    id bigint NOT NULL,
    days smallint NOT NULL,
    since date NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    by_id integer,
    client_id integer,
    group_id bigint,
    CONSTRAINT migration_rotationschedule_days_check CHECK ((days >= 0)),
    CONSTRAINT rotationschedule_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT schedule_days_in_range CHECK (((days >= 1) AND (days <= 3650))),
    CONSTRAINT schedule_of_client_or_group CHECK ((((client_id IS NULL) OR (group_id IS NULL)) AND (1 = (
CASE
    WHEN (client_id IS NULL) THEN 1
    ELSE 0
END +
CASE
    WHEN (group_id IS NULL) THEN 1
    ELSE 0
END))))
);
ALTER TABLE nova_admin.migration_rotationschedule ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_rotationschedule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_run (
    id bigint NOT NULL,
    kind character varying(16) NOT NULL,
    adopt boolean NOT NULL,
    include_inactive boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    by_id integer,
    state character varying(16) DEFAULT 'running'::character varying NOT NULL,
    steered_at timestamp with time zone,
    steered_by_id integer,
    tries smallint DEFAULT 1 NOT NULL,
    worked_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    steered_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    overwrite boolean DEFAULT false NOT NULL,
    approved_by_id integer,
    approved_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    move_from character varying(16) DEFAULT ''::character varying NOT NULL,
    move_to character varying(16) DEFAULT ''::character varying NOT NULL,
    override_lines jsonb DEFAULT '[]'::jsonb NOT NULL,
    override_reason text DEFAULT ''::text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    schedule_deletion boolean DEFAULT false NOT NULL,
    only_where_equal boolean DEFAULT false NOT NULL,
    wave_id bigint,
    stores character varying(8) DEFAULT ''::character varying NOT NULL,
    layout character varying(16) DEFAULT ''::character varying NOT NULL,
    secret_settings jsonb,
    began_at timestamp with time zone,
    CONSTRAINT migration_run_tries_check CHECK ((tries >= 0)),
    CONSTRAINT run_approved_by_another CHECK ((NOT ((approved_by_id = by_id) AND (approved_by_id IS NOT NULL) AND (by_id IS NOT NULL)))),
    CONSTRAINT run_approved_by_is_named CHECK (((approved_by_id IS NULL) OR (NOT ((approved_by_name)::text = ''::text)))),
    CONSTRAINT run_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT run_of_campaign_overrides_nothing CHECK (((wave_id IS NULL) OR ((override_reason = ''::text) AND (NOT ((move_to)::text = 'purged'::text))))),
    CONSTRAINT run_of_layouts_names_its_layout CHECK (((((kind)::text = 'layout'::text) OR ((layout)::text = ''::text)) AND (1 = (
CASE
    WHEN ((kind)::text = 'layout'::text) THEN 1
    ELSE 0
END +
CASE
    WHEN ((layout)::text = ''::text) THEN 1
    ELSE 0
END)))),
    CONSTRAINT run_of_login_tests_names_stores CHECK (((((kind)::text = 'test_logins'::text) OR ((stores)::text = ''::text)) AND (1 = (
CASE
    WHEN ((kind)::text = 'test_logins'::text) THEN 1
    ELSE 0
END +
CASE
    WHEN ((stores)::text = ''::text) THEN 1
    ELSE 0
END)))),
    CONSTRAINT run_of_moves_names_its_move CHECK (((((kind)::text = 'move'::text) OR (((move_from)::text = ''::text) AND ((move_to)::text = ''::text))) AND (1 = (
CASE
    WHEN ((kind)::text = 'move'::text) THEN 1
    ELSE 0
END +
CASE
    WHEN (((move_from)::text = ''::text) AND ((move_to)::text = ''::text)) THEN 1
    ELSE 0
END)))),
    CONSTRAINT run_override_reason_is_short CHECK ((length(override_reason) <= 500)),
    CONSTRAINT run_reason_is_short CHECK ((length(reason) <= 500)),
    CONSTRAINT run_steered_by_is_named CHECK (((steered_by_id IS NULL) OR (NOT ((steered_by_name)::text = ''::text))))
);
ALTER TABLE nova_admin.migration_run ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_runitem (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    batch integer NOT NULL,
    outcome character varying(16) NOT NULL,
    error_class character varying(16) NOT NULL,
    message jsonb,
    comparison_status character varying(20) NOT NULL,
    finished_at timestamp with time zone,
    client_id integer NOT NULL,
    run_id bigint NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone,
    act character varying(16) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT migration_runitem_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT migration_runitem_batch_check CHECK ((batch >= 0))
);
ALTER TABLE nova_admin.migration_runitem ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_runitem_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_runplan (
    id bigint NOT NULL,
    adopt boolean NOT NULL,
    overwrite boolean NOT NULL,
    include_inactive boolean NOT NULL,
    chosen jsonb,
    state character varying(16) NOT NULL,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    started_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    created_at timestamp with time zone NOT NULL,
    made_at timestamp with time zone,
    differences jsonb NOT NULL,
    checked_at timestamp with time zone,
    worked_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    by_id integer,
    run_id bigint,
    started_by_id integer,
    look uuid,
    counts jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT runplan_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT runplan_started_by_is_named CHECK (((started_by_id IS NULL) OR (NOT ((started_by_name)::text = ''::text))))
);
ALTER TABLE nova_admin.migration_runplan ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_runplan_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_savedview (
    id bigint NOT NULL,
    name character varying(60) NOT NULL,
    key character varying(180) NOT NULL,
    query character varying(1000) NOT NULL,
    user_id integer NOT NULL
);
ALTER TABLE nova_admin.migration_savedview ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_savedview_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_searchedclient (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    searched_at timestamp with time zone NOT NULL,
    rows_found bigint DEFAULT 0 NOT NULL,
    not_looked_at integer DEFAULT 0 NOT NULL,
    client_id integer NOT NULL,
    search_id bigint NOT NULL,
    CONSTRAINT migration_searchedclient_not_looked_at_check CHECK ((not_looked_at >= 0))
);
ALTER TABLE nova_admin.migration_searchedclient ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_searchedclient_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_secret (
    name character varying(512) NOT NULL,
    arn character varying(2048) NOT NULL,
    version_id character varying(64) NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    client_id integer NOT NULL,
    facts jsonb DEFAULT '{}'::jsonb NOT NULL,
    described_at timestamp with time zone,
    differs boolean DEFAULT false NOT NULL,
    compared_with character varying(16) DEFAULT ''::character varying NOT NULL,
    tried_at timestamp with time zone,
    begun jsonb,
    begun_on jsonb
);
CREATE TABLE nova_admin.migration_unsearchedplace (
    id bigint NOT NULL,
    slug character varying(100) DEFAULT ''::character varying NOT NULL,
    place character varying(600) NOT NULL,
    reason character varying(32) NOT NULL,
    detail character varying(200) DEFAULT ''::character varying NOT NULL,
    client_id integer,
    search_id bigint NOT NULL
);
ALTER TABLE nova_admin.migration_unsearchedplace ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_unsearchedplace_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_versionkey (
    id bigint NOT NULL,
    key bytea NOT NULL,
    created_at timestamp with time zone NOT NULL
);
ALTER TABLE nova_admin.migration_versionkey ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_versionkey_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_wave (
    id bigint NOT NULL,
    "position" integer NOT NULL,
    part integer NOT NULL,
    group_name character varying(100) NOT NULL,
    goes_on_without_group boolean NOT NULL,
    began_at timestamp with time zone,
    finished_at timestamp with time zone,
    watched_since timestamp with time zone,
    rollback_is_due boolean NOT NULL,
    campaign_id bigint NOT NULL,
    group_id bigint,
    CONSTRAINT migration_wave_part_check CHECK ((part >= 0)),
    CONSTRAINT migration_wave_position_check CHECK (("position" >= 0))
);
ALTER TABLE nova_admin.migration_wave ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_wave_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_waveclient (
    id bigint NOT NULL,
    slug character varying(100) NOT NULL,
    failures_before bigint NOT NULL,
    mismatches_before bigint NOT NULL,
    client_id integer NOT NULL,
    wave_id bigint NOT NULL,
    left_out_at timestamp with time zone
);
ALTER TABLE nova_admin.migration_waveclient ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_waveclient_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_worker (
    name character varying(300) NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    clock_ahead interval,
    idle_because jsonb,
    release character varying(50) DEFAULT ''::character varying NOT NULL,
    schema character varying(100) DEFAULT ''::character varying NOT NULL
);
CREATE TABLE nova_admin.migration_writestop (
    id bigint NOT NULL,
    reason text NOT NULL,
    stopped_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    started_at timestamp with time zone,
    by_id integer,
    started_by_id integer,
    by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    started_by_name character varying(150) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT writestop_by_is_named CHECK (((by_id IS NULL) OR (NOT ((by_name)::text = ''::text)))),
    CONSTRAINT writestop_reason_is_short CHECK ((length(reason) <= 500)),
    CONSTRAINT writestop_started_by_is_named CHECK (((started_by_id IS NULL) OR (NOT ((started_by_name)::text = ''::text))))
);
ALTER TABLE nova_admin.migration_writestop ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_writestop_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.migration_wrongpassword (
    id bigint NOT NULL,
    username character varying(150) NOT NULL,
    address character varying(200) NOT NULL,
    place character varying(16) NOT NULL,
    typed_at timestamp with time zone NOT NULL,
    session character varying(64) NOT NULL,
    shut_out boolean NOT NULL,
    let_in_at timestamp with time zone,
    let_in_by character varying(150) NOT NULL
);
ALTER TABLE nova_admin.migration_wrongpassword ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.migration_wrongpassword_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.socialaccount_socialaccount (
    id integer NOT NULL,
    provider character varying(200) NOT NULL,
    uid character varying(191) NOT NULL,
    last_login timestamp with time zone NOT NULL,
    date_joined timestamp with time zone NOT NULL,
    extra_data jsonb NOT NULL,
    user_id integer NOT NULL
);
ALTER TABLE nova_admin.socialaccount_socialaccount ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.socialaccount_socialaccount_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.socialaccount_socialapp (
    id integer NOT NULL,
    provider character varying(30) NOT NULL,
    name character varying(40) NOT NULL,
    client_id character varying(191) NOT NULL,
    secret character varying(191) NOT NULL,
    key character varying(191) NOT NULL,
    provider_id character varying(200) NOT NULL,
    settings jsonb NOT NULL
);
ALTER TABLE nova_admin.socialaccount_socialapp ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.socialaccount_socialapp_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE nova_admin.socialaccount_socialtoken (
    id integer NOT NULL,
    token text NOT NULL,
    token_secret text NOT NULL,
    expires_at timestamp with time zone,
    account_id integer NOT NULL,
    app_id integer
);
ALTER TABLE nova_admin.socialaccount_socialtoken ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME nova_admin.socialaccount_socialtoken_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.client_database_credentials (
    id integer NOT NULL,
    client_id integer NOT NULL,
    db_host character varying(255) NOT NULL,
    db_port integer DEFAULT 5432 NOT NULL,
    db_name character varying(255) NOT NULL,
    db_user character varying(255) NOT NULL,
    db_password_encrypted text NOT NULL,
    label character varying(100),
    is_primary boolean DEFAULT true,
    created_at timestamp without time zone DEFAULT now() NOT NULL,
    updated_at timestamp without time zone DEFAULT now() NOT NULL
);
CREATE SEQUENCE public.client_database_credentials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.client_database_credentials_id_seq OWNED BY public.client_database_credentials.id;
CREATE TABLE public.client_email_credentials (
    id integer NOT NULL,
    client_id integer NOT NULL,
    email_provider character varying(50) DEFAULT 'gmail'::character varying,
    imap_host character varying(255) DEFAULT 'imap.gmail.com'::character varying,
    imap_port integer DEFAULT 993,
    smtp_host character varying(255) DEFAULT 'smtp.gmail.com'::character varying,
    smtp_port integer DEFAULT 587,
    email_user character varying(255) NOT NULL,
    email_password_encrypted text NOT NULL,
    sender_whitelist text,
    label character varying(100),
    is_primary boolean DEFAULT true,
    created_at timestamp without time zone DEFAULT now() NOT NULL,
    updated_at timestamp without time zone DEFAULT now() NOT NULL
);
CREATE SEQUENCE public.client_email_credentials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.client_email_credentials_id_seq OWNED BY public.client_email_credentials.id;
CREATE TABLE public.clients (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    slug character varying(100) NOT NULL,
    description text,
    is_active boolean DEFAULT true,
    created_at timestamp without time zone DEFAULT now() NOT NULL,
    updated_at timestamp without time zone DEFAULT now() NOT NULL
);
CREATE SEQUENCE public.clients_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.clients_id_seq OWNED BY public.clients.id;
ALTER TABLE ONLY nova_admin.client_aws_credentials ALTER COLUMN id SET DEFAULT nextval('nova_admin.client_aws_credentials_id_seq'::regclass);
ALTER TABLE ONLY public.client_database_credentials ALTER COLUMN id SET DEFAULT nextval('public.client_database_credentials_id_seq'::regclass);
ALTER TABLE ONLY public.client_email_credentials ALTER COLUMN id SET DEFAULT nextval('public.client_email_credentials_id_seq'::regclass);
ALTER TABLE ONLY public.clients ALTER COLUMN id SET DEFAULT nextval('public.clients_id_seq'::regclass);
INSERT INTO nova_admin.client_aws_credentials VALUES (1, 1, 'EXAMPLE-KEY-ID', 'example-secret-key-3', 'eu-west-1', NULL, true, '2026-11-30 18:17:40.697421', '2026-11-30 18:17:40.697421');
INSERT INTO nova_admin.client_aws_credentials VALUES (2, 2, 'EXAMPLE-KEY-ID', 'example-secret-key-3', 'eu-west-1', NULL, true, '2026-11-30 18:17:40.717164', '2026-11-30 18:17:40.717164');
INSERT INTO nova_admin.client_aws_credentials VALUES (3, 3, 'EXAMPLE-KEY-ID', 'example-secret-key-3', 'eu-west-1', NULL, true, '2026-11-30 18:17:40.995826', '2026-11-30 18:17:40.995826');
INSERT INTO nova_admin.client_aws_credentials VALUES (4, 4, 'EXAMPLE-KEY-ID', 'example-secret-key-3', 'eu-west-1', NULL, true, '2026-11-30 18:17:41.061077', '2026-11-30 18:17:41.061077');
INSERT INTO nova_admin.client_aws_credentials VALUES (5, 5, 'EXAMPLE-KEY-ID', 'aws-secretsmanager:x', 'eu-west-1', NULL, true, '2026-11-30 18:17:41.117673', '2026-11-30 18:17:41.117673');
INSERT INTO nova_admin.credentials_clientrevision VALUES (2, 0, 5, NULL, '2026-11-30 18:17:40.957328+00');
INSERT INTO nova_admin.credentials_clientrevision VALUES (3, 0, 5, NULL, '2026-11-30 18:17:41.034915+00');
INSERT INTO nova_admin.credentials_clientrevision VALUES (4, 0, 5, NULL, '2026-11-30 18:17:41.105502+00');
INSERT INTO nova_admin.credentials_clientrevision VALUES (5, 0, 5, NULL, '2026-11-30 18:17:41.152898+00');
INSERT INTO nova_admin.credentials_clientrevision VALUES (6, 0, 2, NULL, '2026-11-30 18:17:41.206547+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (1, 1, '2026-11-30 18:17:40.674889+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (2, 1, '2026-11-30 18:17:40.684436+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (3, 1, '2026-11-30 18:17:40.691794+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (4, 1, '2026-11-30 18:17:40.697595+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (5, 1, '2026-11-30 18:17:40.701873+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (6, 2, '2026-11-30 18:17:40.712359+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (7, 2, '2026-11-30 18:17:40.714008+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (8, 2, '2026-11-30 18:17:40.715132+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (9, 2, '2026-11-30 18:17:40.717269+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (10, 2, '2026-11-30 18:17:40.718476+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (11, 3, '2026-11-30 18:17:40.989331+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (12, 3, '2026-11-30 18:17:40.9937+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (13, 3, '2026-11-30 18:17:40.994986+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (14, 3, '2026-11-30 18:17:40.995908+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (15, 3, '2026-11-30 18:17:40.997226+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (16, 4, '2026-11-30 18:17:41.051421+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (17, 4, '2026-11-30 18:17:41.056385+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (18, 4, '2026-11-30 18:17:41.058021+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (19, 4, '2026-11-30 18:17:41.061479+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (20, 4, '2026-11-30 18:17:41.065054+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (21, 5, '2026-11-30 18:17:41.115179+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (22, 5, '2026-11-30 18:17:41.116088+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (23, 5, '2026-11-30 18:17:41.11692+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (24, 5, '2026-11-30 18:17:41.117747+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (25, 5, '2026-11-30 18:17:41.118535+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (26, 5, '2026-11-30 18:17:41.160418+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (27, 5, '2026-11-30 18:17:41.160418+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (28, 5, '2026-11-30 18:17:41.161443+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (29, 5, '2026-11-30 18:17:41.162126+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (30, 6, '2026-11-30 18:17:41.166095+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (31, 6, '2026-11-30 18:17:41.167064+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (32, 6, '2026-11-30 18:17:41.225098+00');
INSERT INTO nova_admin.credentials_clientwrite VALUES (33, 7, '2026-11-30 18:17:41.229268+00');
INSERT INTO nova_admin.django_migrations VALUES (1, 'contenttypes', '0001_initial', '2026-11-30 18:17:32.307924+00');
INSERT INTO nova_admin.django_migrations VALUES (2, 'auth', '0001_initial', '2026-11-30 18:17:32.453053+00');
INSERT INTO nova_admin.django_migrations VALUES (3, 'account', '0001_initial', '2026-11-30 18:17:32.487046+00');
INSERT INTO nova_admin.django_migrations VALUES (4, 'account', '0002_email_max_length', '2026-11-30 18:17:32.508655+00');
INSERT INTO nova_admin.django_migrations VALUES (5, 'account', '0003_alter_emailaddress_create_unique_verified_email', '2026-11-30 18:17:32.531484+00');
INSERT INTO nova_admin.django_migrations VALUES (6, 'account', '0004_alter_emailaddress_drop_unique_email', '2026-11-30 18:17:32.550439+00');
INSERT INTO nova_admin.django_migrations VALUES (7, 'account', '0005_emailaddress_idx_upper_email', '2026-11-30 18:17:32.565793+00');
INSERT INTO nova_admin.django_migrations VALUES (8, 'account', '0006_emailaddress_lower', '2026-11-30 18:17:32.58095+00');
INSERT INTO nova_admin.django_migrations VALUES (9, 'account', '0007_emailaddress_idx_email', '2026-11-30 18:17:32.606632+00');
INSERT INTO nova_admin.django_migrations VALUES (10, 'account', '0008_emailaddress_unique_primary_email_fixup', '2026-11-30 18:17:32.62203+00');
INSERT INTO nova_admin.django_migrations VALUES (11, 'account', '0009_emailaddress_unique_primary_email', '2026-11-30 18:17:32.633981+00');
INSERT INTO nova_admin.django_migrations VALUES (12, 'admin', '0001_initial', '2026-11-30 18:17:32.655298+00');
INSERT INTO nova_admin.django_migrations VALUES (13, 'admin', '0002_logentry_remove_auto_add', '2026-11-30 18:17:32.667275+00');
INSERT INTO nova_admin.django_migrations VALUES (14, 'admin', '0003_logentry_add_action_flag_choices', '2026-11-30 18:17:32.68214+00');
INSERT INTO nova_admin.django_migrations VALUES (15, 'contenttypes', '0002_remove_content_type_name', '2026-11-30 18:17:32.701632+00');
INSERT INTO nova_admin.django_migrations VALUES (16, 'auth', '0002_alter_permission_name_max_length', '2026-11-30 18:17:32.713089+00');
INSERT INTO nova_admin.django_migrations VALUES (17, 'auth', '0003_alter_user_email_max_length', '2026-11-30 18:17:32.724155+00');
INSERT INTO nova_admin.django_migrations VALUES (18, 'auth', '0004_alter_user_username_opts', '2026-11-30 18:17:32.733137+00');
INSERT INTO nova_admin.django_migrations VALUES (19, 'auth', '0005_alter_user_last_login_null', '2026-11-30 18:17:32.742673+00');
INSERT INTO nova_admin.django_migrations VALUES (20, 'auth', '0006_require_contenttypes_0002', '2026-11-30 18:17:32.75234+00');
INSERT INTO nova_admin.django_migrations VALUES (21, 'auth', '0007_alter_validators_add_error_messages', '2026-11-30 18:17:32.762808+00');
INSERT INTO nova_admin.django_migrations VALUES (22, 'auth', '0008_alter_user_username_max_length', '2026-11-30 18:17:32.778134+00');
INSERT INTO nova_admin.django_migrations VALUES (23, 'auth', '0009_alter_user_last_name_max_length', '2026-11-30 18:17:32.791264+00');
INSERT INTO nova_admin.django_migrations VALUES (24, 'auth', '0010_alter_group_name_max_length', '2026-11-30 18:17:32.803436+00');
INSERT INTO nova_admin.django_migrations VALUES (25, 'auth', '0011_update_proxy_permissions', '2026-11-30 18:17:32.813084+00');
INSERT INTO nova_admin.django_migrations VALUES (26, 'auth', '0012_alter_user_first_name_max_length', '2026-11-30 18:17:32.823916+00');
INSERT INTO nova_admin.django_migrations VALUES (27, 'axes', '0001_initial', '2026-11-30 18:17:32.836078+00');
INSERT INTO nova_admin.django_migrations VALUES (28, 'axes', '0002_auto_20151217_2044', '2026-11-30 18:17:32.885951+00');
INSERT INTO nova_admin.django_migrations VALUES (29, 'axes', '0003_auto_20160322_0929', '2026-11-30 18:17:32.905698+00');
INSERT INTO nova_admin.django_migrations VALUES (30, 'axes', '0004_auto_20181024_1538', '2026-11-30 18:17:32.924196+00');
INSERT INTO nova_admin.django_migrations VALUES (31, 'axes', '0005_remove_accessattempt_trusted', '2026-11-30 18:17:32.933689+00');
INSERT INTO nova_admin.django_migrations VALUES (32, 'axes', '0006_remove_accesslog_trusted', '2026-11-30 18:17:32.941234+00');
INSERT INTO nova_admin.django_migrations VALUES (33, 'axes', '0007_alter_accessattempt_unique_together', '2026-11-30 18:17:32.966178+00');
INSERT INTO nova_admin.django_migrations VALUES (34, 'axes', '0008_accessfailurelog', '2026-11-30 18:17:32.983914+00');
INSERT INTO nova_admin.django_migrations VALUES (35, 'axes', '0009_add_session_hash', '2026-11-30 18:17:32.993903+00');
INSERT INTO nova_admin.django_migrations VALUES (36, 'axes', '0010_accessattemptexpiration', '2026-11-30 18:17:33.004167+00');
INSERT INTO nova_admin.django_migrations VALUES (37, 'credentials', '0001_initial', '2026-11-30 18:17:33.043982+00');
INSERT INTO nova_admin.django_migrations VALUES (38, 'credentials', '0002_written_at', '2026-11-30 18:17:33.057847+00');
INSERT INTO nova_admin.django_migrations VALUES (39, 'credentials', '0003_counting', '2026-11-30 18:17:33.095032+00');
INSERT INTO nova_admin.django_migrations VALUES (40, 'credentials', '0004_mapped_columns', '2026-11-30 18:17:33.223368+00');
INSERT INTO nova_admin.django_migrations VALUES (41, 'credentials', '0005_pushed_at', '2026-11-30 18:17:33.252253+00');
INSERT INTO nova_admin.django_migrations VALUES (42, 'django_q', '0001_initial', '2026-11-30 18:17:33.308678+00');
INSERT INTO nova_admin.django_migrations VALUES (43, 'django_q', '0002_auto_20150630_1624', '2026-11-30 18:17:33.347903+00');
INSERT INTO nova_admin.django_migrations VALUES (44, 'django_q', '0003_auto_20150708_1326', '2026-11-30 18:17:33.403866+00');
INSERT INTO nova_admin.django_migrations VALUES (45, 'django_q', '0004_auto_20150710_1043', '2026-11-30 18:17:33.442457+00');
INSERT INTO nova_admin.django_migrations VALUES (46, 'django_q', '0005_auto_20150718_1506', '2026-11-30 18:17:33.458985+00');
INSERT INTO nova_admin.django_migrations VALUES (47, 'django_q', '0006_auto_20150805_1817', '2026-11-30 18:17:33.491971+00');
INSERT INTO nova_admin.django_migrations VALUES (48, 'django_q', '0007_ormq', '2026-11-30 18:17:33.540111+00');
INSERT INTO nova_admin.django_migrations VALUES (49, 'django_q', '0008_auto_20160224_1026', '2026-11-30 18:17:33.574302+00');
INSERT INTO nova_admin.django_migrations VALUES (50, 'django_q', '0009_auto_20171009_0915', '2026-11-30 18:17:33.603895+00');
INSERT INTO nova_admin.django_migrations VALUES (51, 'django_q', '0010_auto_20200610_0856', '2026-11-30 18:17:33.637025+00');
INSERT INTO nova_admin.django_migrations VALUES (52, 'django_q', '0011_auto_20200628_1055', '2026-11-30 18:17:33.66704+00');
INSERT INTO nova_admin.django_migrations VALUES (53, 'django_q', '0012_auto_20200702_1608', '2026-11-30 18:17:33.675173+00');
INSERT INTO nova_admin.django_migrations VALUES (54, 'django_q', '0013_task_attempt_count', '2026-11-30 18:17:33.693759+00');
INSERT INTO nova_admin.django_migrations VALUES (55, 'django_q', '0014_schedule_cluster', '2026-11-30 18:17:33.699957+00');
INSERT INTO nova_admin.django_migrations VALUES (56, 'django_q', '0015_alter_schedule_schedule_type', '2026-11-30 18:17:33.717658+00');
INSERT INTO nova_admin.django_migrations VALUES (57, 'django_q', '0016_schedule_intended_date_kwarg', '2026-11-30 18:17:33.725402+00');
INSERT INTO nova_admin.django_migrations VALUES (58, 'django_q', '0017_task_cluster_alter', '2026-11-30 18:17:33.736972+00');
INSERT INTO nova_admin.django_migrations VALUES (59, 'django_q', '0018_task_success_index', '2026-11-30 18:17:33.743708+00');
INSERT INTO nova_admin.django_migrations VALUES (60, 'django_q', '0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more', '2026-11-30 18:17:33.80096+00');
INSERT INTO nova_admin.django_migrations VALUES (61, 'mfa', '0001_initial', '2026-11-30 18:17:33.821008+00');
INSERT INTO nova_admin.django_migrations VALUES (62, 'mfa', '0002_authenticator_timestamps', '2026-11-30 18:17:33.847138+00');
INSERT INTO nova_admin.django_migrations VALUES (63, 'mfa', '0003_authenticator_type_uniq', '2026-11-30 18:17:33.887769+00');
INSERT INTO nova_admin.django_migrations VALUES (64, 'migration', '0001_initial', '2026-11-30 18:17:33.971385+00');
INSERT INTO nova_admin.django_migrations VALUES (65, 'migration', '0002_read_count', '2026-11-30 18:17:34.003655+00');
INSERT INTO nova_admin.django_migrations VALUES (66, 'migration', '0003_moves', '2026-11-30 18:17:34.043836+00');
INSERT INTO nova_admin.django_migrations VALUES (67, 'migration', '0004_dashboard', '2026-11-30 18:17:34.123156+00');
INSERT INTO nova_admin.django_migrations VALUES (68, 'migration', '0005_steered_runs', '2026-11-30 18:17:34.251718+00');
INSERT INTO nova_admin.django_migrations VALUES (69, 'migration', '0006_approvals_and_reveals', '2026-11-30 18:17:34.373451+00');
INSERT INTO nova_admin.django_migrations VALUES (70, 'migration', '0007_version_keys', '2026-11-30 18:17:34.392318+00');
INSERT INTO nova_admin.django_migrations VALUES (71, 'migration', '0008_messages', '2026-11-30 18:17:34.554091+00');
INSERT INTO nova_admin.django_migrations VALUES (72, 'migration', '0009_evidence', '2026-11-30 18:17:34.610246+00');
INSERT INTO nova_admin.django_migrations VALUES (73, 'migration', '0010_reader_processes', '2026-11-30 18:17:34.636035+00');
INSERT INTO nova_admin.django_migrations VALUES (74, 'migration', '0011_database_identity', '2026-11-30 18:17:34.862279+00');
INSERT INTO nova_admin.django_migrations VALUES (75, 'migration', '0013_copy_searches', '2026-11-30 18:17:34.935776+00');
INSERT INTO nova_admin.django_migrations VALUES (76, 'migration', '0014_schema_class', '2026-11-30 18:17:34.961694+00');
INSERT INTO nova_admin.django_migrations VALUES (77, 'migration', '0015_readable_times', '2026-11-30 18:17:35.037052+00');
INSERT INTO nova_admin.django_migrations VALUES (78, 'migration', '0016_resumed_searches', '2026-11-30 18:17:35.079338+00');
INSERT INTO nova_admin.django_migrations VALUES (79, 'migration', '0017_kept_names', '2026-11-30 18:17:35.258038+00');
INSERT INTO nova_admin.django_migrations VALUES (80, 'migration', '0018_wrong_passwords', '2026-11-30 18:17:35.284852+00');
INSERT INTO nova_admin.django_migrations VALUES (81, 'migration', '0019_audit_events', '2026-11-30 18:17:35.349511+00');
INSERT INTO nova_admin.django_migrations VALUES (82, 'migration', '0020_leases', '2026-11-30 18:17:35.406066+00');
INSERT INTO nova_admin.django_migrations VALUES (83, 'migration', '0021_groups', '2026-11-30 18:17:35.481773+00');
INSERT INTO nova_admin.django_migrations VALUES (84, 'migration', '0022_run_plans', '2026-11-30 18:17:35.568956+00');
INSERT INTO nova_admin.django_migrations VALUES (85, 'migration', '0023_move_runs', '2026-11-30 18:17:35.690155+00');
INSERT INTO nova_admin.django_migrations VALUES (86, 'migration', '0024_item_acts', '2026-11-30 18:17:35.774023+00');
INSERT INTO nova_admin.django_migrations VALUES (87, 'migration', '0025_campaigns', '2026-11-30 18:17:35.951051+00');
INSERT INTO nova_admin.django_migrations VALUES (88, 'migration', '0026_client_owners', '2026-11-30 18:17:36.005988+00');
INSERT INTO nova_admin.django_migrations VALUES (89, 'migration', '0027_saved_views', '2026-11-30 18:17:36.060819+00');
INSERT INTO nova_admin.django_migrations VALUES (90, 'migration', '0028_comments_and_assignees', '2026-11-30 18:17:36.412706+00');
INSERT INTO nova_admin.django_migrations VALUES (91, 'migration', '0029_undone_copies', '2026-11-30 18:17:36.517751+00');
INSERT INTO nova_admin.django_migrations VALUES (92, 'migration', '0030_kept_counts', '2026-11-30 18:17:36.556284+00');
INSERT INTO nova_admin.django_migrations VALUES (93, 'migration', '0031_clients_left_out', '2026-11-30 18:17:36.65827+00');
INSERT INTO nova_admin.django_migrations VALUES (94, 'migration', '0032_login_tests', '2026-11-30 18:17:36.742667+00');
INSERT INTO nova_admin.django_migrations VALUES (95, 'migration', '0033_rotations', '2026-11-30 18:17:36.826526+00');
INSERT INTO nova_admin.django_migrations VALUES (96, 'migration', '0034_layouts', '2026-11-30 18:17:37.004757+00');
INSERT INTO nova_admin.django_migrations VALUES (97, 'migration', '0035_known_values', '2026-11-30 18:17:37.069833+00');
INSERT INTO nova_admin.django_migrations VALUES (98, 'migration', '0036_rotation_secret_name', '2026-11-30 18:17:37.186003+00');
INSERT INTO nova_admin.django_migrations VALUES (99, 'migration', '0037_newest_login_tests', '2026-11-30 18:17:37.26254+00');
INSERT INTO nova_admin.django_migrations VALUES (100, 'migration', '0039_notices', '2026-11-30 18:17:37.35384+00');
INSERT INTO nova_admin.django_migrations VALUES (101, 'migration', '0040_offboardings', '2026-11-30 18:17:37.412814+00');
INSERT INTO nova_admin.django_migrations VALUES (102, 'migration', '0041_secret_settings', '2026-11-30 18:17:37.686278+00');
INSERT INTO nova_admin.django_migrations VALUES (103, 'migration', '0044_refused_by_pooler', '2026-11-30 18:17:37.729006+00');
INSERT INTO nova_admin.django_migrations VALUES (104, 'migration', '0045_plan_rows', '2026-11-30 18:17:37.941414+00');
INSERT INTO nova_admin.django_migrations VALUES (105, 'migration', '0046_differing_secrets', '2026-11-30 18:17:38.02476+00');
INSERT INTO nova_admin.django_migrations VALUES (106, 'migration', '0047_worker_clocks', '2026-11-30 18:17:38.041755+00');
INSERT INTO nova_admin.django_migrations VALUES (107, 'migration', '0048_created_by', '2026-11-30 18:17:38.26569+00');
INSERT INTO nova_admin.django_migrations VALUES (108, 'migration', '0049_run_began_at', '2026-11-30 18:17:38.314568+00');
INSERT INTO nova_admin.django_migrations VALUES (109, 'migration', '0050_secret_slug', '2026-11-30 18:17:38.67344+00');
INSERT INTO nova_admin.django_migrations VALUES (110, 'migration', '0051_asked_and_sealed', '2026-11-30 18:17:38.768093+00');
INSERT INTO nova_admin.django_migrations VALUES (111, 'migration', '0052_shared_facts', '2026-11-30 18:17:38.860604+00');
INSERT INTO nova_admin.django_migrations VALUES (112, 'migration', '0053_read_outcomes', '2026-11-30 18:17:38.936613+00');
INSERT INTO nova_admin.django_migrations VALUES (113, 'sessions', '0001_initial', '2026-11-30 18:17:38.968955+00');
INSERT INTO nova_admin.django_migrations VALUES (114, 'socialaccount', '0001_initial', '2026-11-30 18:17:39.219082+00');
INSERT INTO nova_admin.django_migrations VALUES (115, 'socialaccount', '0002_token_max_lengths', '2026-11-30 18:17:39.304799+00');
INSERT INTO nova_admin.django_migrations VALUES (116, 'socialaccount', '0003_extra_data_default_dict', '2026-11-30 18:17:39.368708+00');
INSERT INTO nova_admin.django_migrations VALUES (117, 'socialaccount', '0004_app_provider_id_settings', '2026-11-30 18:17:39.447319+00');
INSERT INTO nova_admin.django_migrations VALUES (118, 'socialaccount', '0005_socialtoken_nullable_app', '2026-11-30 18:17:39.567793+00');
INSERT INTO nova_admin.django_migrations VALUES (119, 'socialaccount', '0006_alter_socialaccount_extra_data', '2026-11-30 18:17:39.64468+00');
INSERT INTO nova_admin.migration_clientmigration VALUES (1, 'postgres', NULL, NULL, 0, NULL, NULL, NULL, NULL, '{}', NULL, '', NULL, NULL, NULL);
INSERT INTO nova_admin.migration_clientmigration VALUES (2, 'dual_write', NULL, 1, 0, NULL, 'match', '2026-11-30 18:17:40.947898+00', NULL, '{}', 'client', '', NULL, NULL, NULL);
INSERT INTO nova_admin.migration_clientmigration VALUES (3, 'dual_read', NULL, 2, 0, NULL, 'match', '2026-11-30 18:17:41.030778+00', NULL, '{}', 'client', '', NULL, NULL, NULL);
INSERT INTO nova_admin.migration_clientmigration VALUES (4, 'aws', NULL, 3, 0, NULL, 'match', '2026-11-30 18:17:41.10165+00', NULL, '{}', 'client', '', NULL, NULL, NULL);
INSERT INTO nova_admin.migration_clientmigration VALUES (5, 'purged', NULL, 4, 0, NULL, 'match', '2026-11-30 18:17:41.14897+00', NULL, '{}', 'client', '', NULL, NULL, NULL);
INSERT INTO nova_admin.migration_clientmigration VALUES (6, 'dual_read', NULL, 5, 0, NULL, 'match', '2026-11-30 18:17:41.202574+00', NULL, '{}', 'client', '', NULL, NULL, NULL);
INSERT INTO nova_admin.migration_comparison VALUES (1, 'in-dual_write', 'match', '', NULL, '[]', 5, '2026-11-30 18:17:40.947898+00', 2, NULL);
INSERT INTO nova_admin.migration_comparison VALUES (2, 'in-dual_read', 'match', '', NULL, '[]', 5, '2026-11-30 18:17:41.030778+00', 3, NULL);
INSERT INTO nova_admin.migration_comparison VALUES (3, 'in-aws', 'match', '', NULL, '[]', 5, '2026-11-30 18:17:41.10165+00', 4, NULL);
INSERT INTO nova_admin.migration_comparison VALUES (4, 'in-purged', 'match', '', NULL, '[]', 5, '2026-11-30 18:17:41.14897+00', 5, NULL);
INSERT INTO nova_admin.migration_comparison VALUES (5, 'pending', 'match', '', NULL, '[]', 2, '2026-11-30 18:17:41.202574+00', 6, NULL);
INSERT INTO public.client_database_credentials VALUES (1, 1, 'db.example.test', 5432, 'app', 'app', 'example-password-1', NULL, true, '2026-11-30 18:17:40.684251', '2026-11-30 18:17:40.684251');
INSERT INTO public.client_database_credentials VALUES (2, 1, 'db.example.test', 5432, 'app', 'archive', 'example-password-1', 'archive', false, '2026-11-30 18:17:40.701712', '2026-11-30 18:17:40.701712');
INSERT INTO public.client_database_credentials VALUES (3, 2, 'db.example.test', 5432, 'app', 'app', 'example-password-1', NULL, true, '2026-11-30 18:17:40.713906', '2026-11-30 18:17:40.713906');
INSERT INTO public.client_database_credentials VALUES (4, 2, 'db.example.test', 5432, 'app', 'archive', 'example-password-1', 'archive', false, '2026-11-30 18:17:40.718373', '2026-11-30 18:17:40.718373');
INSERT INTO public.client_database_credentials VALUES (5, 3, 'db.example.test', 5432, 'app', 'app', 'example-password-1', NULL, true, '2026-11-30 18:17:40.993543', '2026-11-30 18:17:40.993543');
INSERT INTO public.client_database_credentials VALUES (6, 3, 'db.example.test', 5432, 'app', 'archive', 'example-password-1', 'archive', false, '2026-11-30 18:17:40.997027', '2026-11-30 18:17:40.997027');
INSERT INTO public.client_database_credentials VALUES (7, 4, 'db.example.test', 5432, 'app', 'app', 'example-password-1', NULL, true, '2026-11-30 18:17:41.056204', '2026-11-30 18:17:41.056204');
INSERT INTO public.client_database_credentials VALUES (8, 4, 'db.example.test', 5432, 'app', 'archive', 'example-password-1', 'archive', false, '2026-11-30 18:17:41.064922', '2026-11-30 18:17:41.064922');
INSERT INTO public.client_database_credentials VALUES (9, 5, 'db.example.test', 5432, 'app', 'app', 'aws-secretsmanager:x', NULL, true, '2026-11-30 18:17:41.116002', '2026-11-30 18:17:41.116002');
INSERT INTO public.client_database_credentials VALUES (10, 5, 'db.example.test', 5432, 'app', 'archive', 'aws-secretsmanager:x', 'archive', false, '2026-11-30 18:17:41.118456', '2026-11-30 18:17:41.118456');
INSERT INTO public.client_database_credentials VALUES (11, 6, 'db.example.test', 5432, 'app', 'app', 'example-newer', NULL, true, '2026-11-30 18:17:41.166966', '2026-11-30 18:17:41.166966');
INSERT INTO public.client_email_credentials VALUES (1, 1, 'gmail', 'imap.gmail.com', 993, 'smtp.gmail.com', 587, 'invoices@example.test', 'example-app-password-2', 'a@example.test,b@example.test', NULL, true, '2026-11-30 18:17:40.691585', '2026-11-30 18:17:40.691585');
INSERT INTO public.client_email_credentials VALUES (2, 2, 'gmail', 'imap.gmail.com', 993, 'smtp.gmail.com', 587, 'invoices@example.test', 'example-app-password-2', 'a@example.test,b@example.test', NULL, true, '2026-11-30 18:17:40.715031', '2026-11-30 18:17:40.715031');
INSERT INTO public.client_email_credentials VALUES (3, 3, 'gmail', 'imap.gmail.com', 993, 'smtp.gmail.com', 587, 'invoices@example.test', 'example-app-password-2', 'a@example.test,b@example.test', NULL, true, '2026-11-30 18:17:40.994876', '2026-11-30 18:17:40.994876');
INSERT INTO public.client_email_credentials VALUES (4, 4, 'gmail', 'imap.gmail.com', 993, 'smtp.gmail.com', 587, 'invoices@example.test', 'example-app-password-2', 'a@example.test,b@example.test', NULL, true, '2026-11-30 18:17:41.057903', '2026-11-30 18:17:41.057903');
INSERT INTO public.client_email_credentials VALUES (5, 5, 'gmail', 'imap.gmail.com', 993, 'smtp.gmail.com', 587, 'invoices@example.test', 'aws-secretsmanager:x', 'a@example.test,b@example.test', NULL, true, '2026-11-30 18:17:41.11683', '2026-11-30 18:17:41.11683');
INSERT INTO public.clients VALUES (1, 'IN-POSTGRES', 'in-postgres', NULL, true, '2026-11-30 18:17:40.674785', '2026-11-30 18:17:40.674785');
INSERT INTO public.clients VALUES (2, 'IN-DUAL_WRITE', 'in-dual_write', NULL, true, '2026-11-30 18:17:40.712193', '2026-11-30 18:17:40.712193');
INSERT INTO public.clients VALUES (3, 'IN-DUAL_READ', 'in-dual_read', NULL, true, '2026-11-30 18:17:40.989181', '2026-11-30 18:17:40.989181');
INSERT INTO public.clients VALUES (4, 'IN-AWS', 'in-aws', NULL, true, '2026-11-30 18:17:41.051253', '2026-11-30 18:17:41.051253');
INSERT INTO public.clients VALUES (5, 'IN-PURGED', 'in-purged', NULL, true, '2026-11-30 18:17:41.115093', '2026-11-30 18:17:41.115093');
INSERT INTO public.clients VALUES (6, 'PENDING', 'pending', NULL, true, '2026-11-30 18:17:41.165976', '2026-11-30 18:17:41.165976');
INSERT INTO public.clients VALUES (7, 'INACTIVE', 'inactive', NULL, false, '2026-11-30 18:17:41.229135', '2026-11-30 18:17:41.229135');
SELECT pg_catalog.setval('nova_admin.account_emailaddress_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.account_emailconfirmation_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.auth_group_id_seq', 5, true);
SELECT pg_catalog.setval('nova_admin.auth_group_permissions_id_seq', 231, true);
SELECT pg_catalog.setval('nova_admin.auth_permission_id_seq', 223, true);
SELECT pg_catalog.setval('nova_admin.auth_user_groups_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.auth_user_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.auth_user_user_permissions_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.axes_accessattempt_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.axes_accessfailurelog_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.axes_accesslog_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.client_aws_credentials_id_seq', 5, true);
SELECT pg_catalog.setval('nova_admin.credentials_acceptedobject_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.credentials_clientwrite_id_seq', 33, true);
SELECT pg_catalog.setval('nova_admin.credentials_columnmapping_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.credentials_countinggap_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.credentials_countingtriggers_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.django_admin_log_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.django_content_type_id_seq', 85, true);
SELECT pg_catalog.setval('nova_admin.django_migrations_id_seq', 119, true);
SELECT pg_catalog.setval('nova_admin.django_q_ormq_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.django_q_schedule_id_seq', 19, true);
SELECT pg_catalog.setval('nova_admin.mfa_authenticator_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_campaign_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_clientcomment_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_clientgroup_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_comparison_id_seq', 5, true);
SELECT pg_catalog.setval('nova_admin.migration_condition_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_copysearch_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_dailycomparisons_id_seq', 5, true);
SELECT pg_catalog.setval('nova_admin.migration_databaseclaim_id_seq', 1, true);
SELECT pg_catalog.setval('nova_admin.migration_foundcopy_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_groupmember_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_keptcounts_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_knownvalue_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_lease_id_seq', 5, true);
SELECT pg_catalog.setval('nova_admin.migration_logintest_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_moverequest_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_notice_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_noticedelivery_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_openmismatch_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_otherstatement_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_passwordreset_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_phasechange_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_planrow_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_redaction_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_resolution_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_reveal_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_rolegrant_id_seq', 231, true);
SELECT pg_catalog.setval('nova_admin.migration_rotation_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_rotationschedule_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_run_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_runitem_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_runplan_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_savedview_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_searchedclient_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_unsearchedplace_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_versionkey_id_seq', 1, true);
SELECT pg_catalog.setval('nova_admin.migration_wave_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_waveclient_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_writestop_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.migration_wrongpassword_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.socialaccount_socialaccount_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.socialaccount_socialapp_id_seq', 1, false);
SELECT pg_catalog.setval('nova_admin.socialaccount_socialtoken_id_seq', 1, false);
SELECT pg_catalog.setval('public.client_database_credentials_id_seq', 11, true);
SELECT pg_catalog.setval('public.client_email_credentials_id_seq', 5, true);
SELECT pg_catalog.setval('public.clients_id_seq', 7, true);
ALTER TABLE ONLY nova_admin.account_emailaddress
    ADD CONSTRAINT account_emailaddress_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.account_emailaddress
    ADD CONSTRAINT account_emailaddress_user_id_email_987c8728_uniq UNIQUE (user_id, email);
ALTER TABLE ONLY nova_admin.account_emailconfirmation
    ADD CONSTRAINT account_emailconfirmation_key_key UNIQUE (key);
ALTER TABLE ONLY nova_admin.account_emailconfirmation
    ADD CONSTRAINT account_emailconfirmation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_group
    ADD CONSTRAINT auth_group_name_key UNIQUE (name);
ALTER TABLE ONLY nova_admin.auth_group_permissions
    ADD CONSTRAINT auth_group_permissions_group_id_permission_id_0cd325b0_uniq UNIQUE (group_id, permission_id);
ALTER TABLE ONLY nova_admin.auth_group_permissions
    ADD CONSTRAINT auth_group_permissions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_group
    ADD CONSTRAINT auth_group_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_permission
    ADD CONSTRAINT auth_permission_content_type_id_codename_01ab375a_uniq UNIQUE (content_type_id, codename);
ALTER TABLE ONLY nova_admin.auth_permission
    ADD CONSTRAINT auth_permission_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_user_groups
    ADD CONSTRAINT auth_user_groups_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_user_groups
    ADD CONSTRAINT auth_user_groups_user_id_group_id_94350c0c_uniq UNIQUE (user_id, group_id);
ALTER TABLE ONLY nova_admin.auth_user
    ADD CONSTRAINT auth_user_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_user_user_permissions
    ADD CONSTRAINT auth_user_user_permissions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.auth_user_user_permissions
    ADD CONSTRAINT auth_user_user_permissions_user_id_permission_id_14a6b632_uniq UNIQUE (user_id, permission_id);
ALTER TABLE ONLY nova_admin.auth_user
    ADD CONSTRAINT auth_user_username_key UNIQUE (username);
ALTER TABLE ONLY nova_admin.axes_accessattempt
    ADD CONSTRAINT axes_accessattempt_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.axes_accessattempt
    ADD CONSTRAINT axes_accessattempt_username_ip_address_user_agent_8ea22282_uniq UNIQUE (username, ip_address, user_agent);
ALTER TABLE ONLY nova_admin.axes_accessattemptexpiration
    ADD CONSTRAINT axes_accessattemptexpiration_pkey PRIMARY KEY (access_attempt_id);
ALTER TABLE ONLY nova_admin.axes_accessfailurelog
    ADD CONSTRAINT axes_accessfailurelog_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.axes_accesslog
    ADD CONSTRAINT axes_accesslog_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.client_aws_credentials
    ADD CONSTRAINT client_aws_credentials_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.credentials_acceptedobject
    ADD CONSTRAINT credentials_acceptedobject_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.credentials_clientrevision
    ADD CONSTRAINT credentials_clientrevision_pkey PRIMARY KEY (client_id);
ALTER TABLE ONLY nova_admin.credentials_clientwrite
    ADD CONSTRAINT credentials_clientwrite_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.credentials_columnmapping
    ADD CONSTRAINT credentials_columnmapping_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.credentials_countinggap
    ADD CONSTRAINT credentials_countinggap_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.credentials_countingproof
    ADD CONSTRAINT credentials_countingproof_pkey PRIMARY KEY ("table");
ALTER TABLE ONLY nova_admin.credentials_countingtriggers
    ADD CONSTRAINT credentials_countingtriggers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_admin_log
    ADD CONSTRAINT django_admin_log_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_content_type
    ADD CONSTRAINT django_content_type_app_label_model_76bd3d3b_uniq UNIQUE (app_label, model);
ALTER TABLE ONLY nova_admin.django_content_type
    ADD CONSTRAINT django_content_type_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_migrations
    ADD CONSTRAINT django_migrations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_q_ormq
    ADD CONSTRAINT django_q_ormq_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_q_schedule
    ADD CONSTRAINT django_q_schedule_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_q_task
    ADD CONSTRAINT django_q_task_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.django_session
    ADD CONSTRAINT django_session_pkey PRIMARY KEY (session_key);
ALTER TABLE ONLY nova_admin.migration_rolegrant
    ADD CONSTRAINT granted_once UNIQUE (group_id, permission_id);
ALTER TABLE ONLY nova_admin.mfa_authenticator
    ADD CONSTRAINT mfa_authenticator_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_auditcheckpoint
    ADD CONSTRAINT migration_auditcheckpoint_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY nova_admin.migration_auditevent
    ADD CONSTRAINT migration_auditevent_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_auditlink
    ADD CONSTRAINT migration_auditlink_event_id_key UNIQUE (event_id);
ALTER TABLE ONLY nova_admin.migration_auditlink
    ADD CONSTRAINT migration_auditlink_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY nova_admin.migration_campaign
    ADD CONSTRAINT migration_campaign_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_clientcomment
    ADD CONSTRAINT migration_clientcomment_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_clientgroup
    ADD CONSTRAINT migration_clientgroup_key_key UNIQUE (key);
ALTER TABLE ONLY nova_admin.migration_clientgroup
    ADD CONSTRAINT migration_clientgroup_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_clientmigration
    ADD CONSTRAINT migration_clientmigration_comparison_id_key UNIQUE (comparison_id);
ALTER TABLE ONLY nova_admin.migration_clientmigration
    ADD CONSTRAINT migration_clientmigration_pkey PRIMARY KEY (client_id);
ALTER TABLE ONLY nova_admin.migration_clientowner
    ADD CONSTRAINT migration_clientowner_pkey PRIMARY KEY (client_id);
ALTER TABLE ONLY nova_admin.migration_comparison
    ADD CONSTRAINT migration_comparison_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_condition
    ADD CONSTRAINT migration_condition_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_copysearch
    ADD CONSTRAINT migration_copysearch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_dailycomparisons
    ADD CONSTRAINT migration_dailycomparisons_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_databaseclaim
    ADD CONSTRAINT migration_databaseclaim_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_foundcopy
    ADD CONSTRAINT migration_foundcopy_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_groupmember
    ADD CONSTRAINT migration_groupmember_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_keptcounts
    ADD CONSTRAINT migration_keptcounts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_knownvalue
    ADD CONSTRAINT migration_knownvalue_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_lease
    ADD CONSTRAINT migration_lease_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_logintest
    ADD CONSTRAINT migration_logintest_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_moverequest
    ADD CONSTRAINT migration_moverequest_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_notedclient
    ADD CONSTRAINT migration_notedclient_pkey PRIMARY KEY (client_id);
ALTER TABLE ONLY nova_admin.migration_notice
    ADD CONSTRAINT migration_notice_key_key UNIQUE (key);
ALTER TABLE ONLY nova_admin.migration_notice
    ADD CONSTRAINT migration_notice_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_noticedelivery
    ADD CONSTRAINT migration_noticedelivery_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_noticerule
    ADD CONSTRAINT migration_noticerule_pkey PRIMARY KEY (event);
ALTER TABLE ONLY nova_admin.migration_offboarding
    ADD CONSTRAINT migration_offboarding_pkey PRIMARY KEY (client_id);
ALTER TABLE ONLY nova_admin.migration_openmismatch
    ADD CONSTRAINT migration_openmismatch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_otherstatement
    ADD CONSTRAINT migration_otherstatement_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_passwordreset
    ADD CONSTRAINT migration_passwordreset_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_phasechange
    ADD CONSTRAINT migration_phasechange_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_plannedversion
    ADD CONSTRAINT migration_plannedversion_pkey PRIMARY KEY (version_id);
ALTER TABLE ONLY nova_admin.migration_planrow
    ADD CONSTRAINT migration_planrow_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_rate
    ADD CONSTRAINT migration_rate_pkey PRIMARY KEY (kind);
ALTER TABLE ONLY nova_admin.migration_readcount
    ADD CONSTRAINT migration_readcount_pkey PRIMARY KEY (client_id);
ALTER TABLE ONLY nova_admin.migration_readerprocess
    ADD CONSTRAINT migration_readerprocess_pkey PRIMARY KEY (key);
ALTER TABLE ONLY nova_admin.migration_redaction
    ADD CONSTRAINT migration_redaction_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_resolution
    ADD CONSTRAINT migration_resolution_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_reveal
    ADD CONSTRAINT migration_reveal_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_rolegrant
    ADD CONSTRAINT migration_rolegrant_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_rotation
    ADD CONSTRAINT migration_rotation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_rotationschedule
    ADD CONSTRAINT migration_rotationschedule_group_id_key UNIQUE (group_id);
ALTER TABLE ONLY nova_admin.migration_rotationschedule
    ADD CONSTRAINT migration_rotationschedule_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_run
    ADD CONSTRAINT migration_run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_runitem
    ADD CONSTRAINT migration_runitem_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_runplan
    ADD CONSTRAINT migration_runplan_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_runplan
    ADD CONSTRAINT migration_runplan_run_id_key UNIQUE (run_id);
ALTER TABLE ONLY nova_admin.migration_savedview
    ADD CONSTRAINT migration_savedview_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_searchedclient
    ADD CONSTRAINT migration_searchedclient_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_secret
    ADD CONSTRAINT migration_secret_pkey PRIMARY KEY (name);
ALTER TABLE ONLY nova_admin.migration_unsearchedplace
    ADD CONSTRAINT migration_unsearchedplace_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_versionkey
    ADD CONSTRAINT migration_versionkey_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_wave
    ADD CONSTRAINT migration_wave_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_waveclient
    ADD CONSTRAINT migration_waveclient_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_worker
    ADD CONSTRAINT migration_worker_pkey PRIMARY KEY (name);
ALTER TABLE ONLY nova_admin.migration_writestop
    ADD CONSTRAINT migration_writestop_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.migration_wrongpassword
    ADD CONSTRAINT migration_wrongpassword_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.credentials_acceptedobject
    ADD CONSTRAINT object_accepted_once UNIQUE (kind, "table", name, owner, digest);
ALTER TABLE ONLY nova_admin.migration_groupmember
    ADD CONSTRAINT one_client_in_group UNIQUE (group_id, client_id);
ALTER TABLE ONLY nova_admin.migration_waveclient
    ADD CONSTRAINT one_client_in_wave UNIQUE (wave_id, client_id);
ALTER TABLE ONLY nova_admin.migration_condition
    ADD CONSTRAINT one_condition_a_subject UNIQUE (event, subject);
ALTER TABLE ONLY nova_admin.migration_dailycomparisons
    ADD CONSTRAINT one_count_a_day_and_status UNIQUE (day, status);
ALTER TABLE ONLY nova_admin.migration_noticedelivery
    ADD CONSTRAINT one_delivery_a_recipient UNIQUE (notice_id, target);
ALTER TABLE ONLY nova_admin.migration_lease
    ADD CONSTRAINT one_lease UNIQUE (kind, key);
ALTER TABLE ONLY nova_admin.credentials_columnmapping
    ADD CONSTRAINT one_mapping_a_column UNIQUE ("table", "column");
ALTER TABLE ONLY nova_admin.migration_openmismatch
    ADD CONSTRAINT one_open_mismatch_a_field UNIQUE (client_id, path);
ALTER TABLE ONLY nova_admin.migration_planrow
    ADD CONSTRAINT one_row_a_client_and_look UNIQUE (plan_id, look, client_id);
ALTER TABLE ONLY nova_admin.migration_otherstatement
    ADD CONSTRAINT one_row_a_statement UNIQUE (role, statement_id);
ALTER TABLE ONLY nova_admin.migration_savedview
    ADD CONSTRAINT one_saved_view_a_name UNIQUE (user_id, key);
ALTER TABLE ONLY nova_admin.migration_rotationschedule
    ADD CONSTRAINT one_schedule_of_client UNIQUE (client_id);
ALTER TABLE ONLY nova_admin.migration_wave
    ADD CONSTRAINT one_wave_at_a_place UNIQUE (campaign_id, "position", part);
ALTER TABLE ONLY nova_admin.migration_searchedclient
    ADD CONSTRAINT searched_client_once UNIQUE (search_id, client_id);
ALTER TABLE ONLY nova_admin.socialaccount_socialaccount
    ADD CONSTRAINT socialaccount_socialaccount_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.socialaccount_socialaccount
    ADD CONSTRAINT socialaccount_socialaccount_provider_uid_fc810c6e_uniq UNIQUE (provider, uid);
ALTER TABLE ONLY nova_admin.socialaccount_socialapp
    ADD CONSTRAINT socialaccount_socialapp_pkey PRIMARY KEY (id);
ALTER TABLE ONLY nova_admin.socialaccount_socialtoken
    ADD CONSTRAINT socialaccount_socialtoken_app_id_account_id_fca4e0ac_uniq UNIQUE (app_id, account_id);
ALTER TABLE ONLY nova_admin.socialaccount_socialtoken
    ADD CONSTRAINT socialaccount_socialtoken_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.client_database_credentials
    ADD CONSTRAINT client_database_credentials_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.client_email_credentials
    ADD CONSTRAINT client_email_credentials_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.clients
    ADD CONSTRAINT clients_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.clients
    ADD CONSTRAINT clients_slug_key UNIQUE (slug);
CREATE INDEX account_emailaddress_email_03be32b2 ON nova_admin.account_emailaddress USING btree (email);
CREATE INDEX account_emailaddress_email_03be32b2_like ON nova_admin.account_emailaddress USING btree (email varchar_pattern_ops);
CREATE INDEX account_emailaddress_user_id_2c513194 ON nova_admin.account_emailaddress USING btree (user_id);
CREATE INDEX account_emailconfirmation_email_address_id_5b7f8c58 ON nova_admin.account_emailconfirmation USING btree (email_address_id);
CREATE INDEX account_emailconfirmation_key_f43612bd_like ON nova_admin.account_emailconfirmation USING btree (key varchar_pattern_ops);
CREATE INDEX audit_of_client ON nova_admin.migration_auditevent USING btree (slug, id DESC);
CREATE INDEX audit_of_code ON nova_admin.migration_auditevent USING btree (code, id DESC);
CREATE INDEX audit_of_user ON nova_admin.migration_auditevent USING btree (who, id DESC);
CREATE INDEX auth_group_name_a6ea08ec_like ON nova_admin.auth_group USING btree (name varchar_pattern_ops);
CREATE INDEX auth_group_permissions_group_id_b120cbf9 ON nova_admin.auth_group_permissions USING btree (group_id);
CREATE INDEX auth_group_permissions_permission_id_84c5c92e ON nova_admin.auth_group_permissions USING btree (permission_id);
CREATE INDEX auth_permission_content_type_id_2f476e4b ON nova_admin.auth_permission USING btree (content_type_id);
CREATE INDEX auth_user_groups_group_id_97559544 ON nova_admin.auth_user_groups USING btree (group_id);
CREATE INDEX auth_user_groups_user_id_6a12ed8b ON nova_admin.auth_user_groups USING btree (user_id);
CREATE INDEX auth_user_user_permissions_permission_id_1fbb5f2c ON nova_admin.auth_user_user_permissions USING btree (permission_id);
CREATE INDEX auth_user_user_permissions_user_id_a95ead1b ON nova_admin.auth_user_user_permissions USING btree (user_id);
CREATE INDEX auth_user_username_6821ab7c_like ON nova_admin.auth_user USING btree (username varchar_pattern_ops);
CREATE INDEX axes_accessattempt_ip_address_10922d9c ON nova_admin.axes_accessattempt USING btree (ip_address);
CREATE INDEX axes_accessattempt_user_agent_ad89678b ON nova_admin.axes_accessattempt USING btree (user_agent);
CREATE INDEX axes_accessattempt_user_agent_ad89678b_like ON nova_admin.axes_accessattempt USING btree (user_agent varchar_pattern_ops);
CREATE INDEX axes_accessattempt_username_3f2d4ca0 ON nova_admin.axes_accessattempt USING btree (username);
CREATE INDEX axes_accessattempt_username_3f2d4ca0_like ON nova_admin.axes_accessattempt USING btree (username varchar_pattern_ops);
CREATE INDEX axes_accessfailurelog_ip_address_2e9f5a7f ON nova_admin.axes_accessfailurelog USING btree (ip_address);
CREATE INDEX axes_accessfailurelog_user_agent_ea145dda ON nova_admin.axes_accessfailurelog USING btree (user_agent);
CREATE INDEX axes_accessfailurelog_user_agent_ea145dda_like ON nova_admin.axes_accessfailurelog USING btree (user_agent varchar_pattern_ops);
CREATE INDEX axes_accessfailurelog_username_a8b7e8a4 ON nova_admin.axes_accessfailurelog USING btree (username);
CREATE INDEX axes_accessfailurelog_username_a8b7e8a4_like ON nova_admin.axes_accessfailurelog USING btree (username varchar_pattern_ops);
CREATE INDEX axes_accesslog_ip_address_86b417e5 ON nova_admin.axes_accesslog USING btree (ip_address);
CREATE INDEX axes_accesslog_user_agent_0e659004 ON nova_admin.axes_accesslog USING btree (user_agent);
CREATE INDEX axes_accesslog_user_agent_0e659004_like ON nova_admin.axes_accesslog USING btree (user_agent varchar_pattern_ops);
CREATE INDEX axes_accesslog_username_df93064b ON nova_admin.axes_accesslog USING btree (username);
CREATE INDEX axes_accesslog_username_df93064b_like ON nova_admin.axes_accesslog USING btree (username varchar_pattern_ops);
CREATE INDEX client_aws_credentials_client_id ON nova_admin.client_aws_credentials USING btree (client_id);
CREATE INDEX client_other_secrets ON nova_admin.migration_clientmigration USING btree (other_secrets_since) WHERE (NOT ((other_secrets)::text = ''::text));
CREATE INDEX client_other_slug ON nova_admin.migration_clientmigration USING btree (other_slug) WHERE (other_slug IS NOT NULL);
CREATE INDEX client_secret_slug ON nova_admin.migration_clientmigration USING btree (secret_slug) WHERE (secret_slug IS NOT NULL);
CREATE INDEX comment_of_client ON nova_admin.migration_clientcomment USING btree (client_id, id DESC);
CREATE INDEX comparison_of_client ON nova_admin.migration_comparison USING btree (client_id, id DESC);
CREATE INDEX comparison_slug ON nova_admin.migration_comparison USING btree (slug varchar_pattern_ops);
CREATE INDEX copy_search_of_client ON nova_admin.migration_searchedclient USING btree (client_id, searched_at DESC);
CREATE INDEX credentials_acceptedobject_accepted_by_id_09a018ee ON nova_admin.credentials_acceptedobject USING btree (accepted_by_id);
CREATE INDEX credentials_clientwrite_client_id_4487a69d ON nova_admin.credentials_clientwrite USING btree (client_id);
CREATE INDEX credentials_columnmapping_mapped_by_id_f19fb73e ON nova_admin.credentials_columnmapping USING btree (mapped_by_id);
CREATE INDEX credentials_countingproof_table_c9060837_like ON nova_admin.credentials_countingproof USING btree ("table" varchar_pattern_ops);
CREATE INDEX delivery_of_recipient ON nova_admin.migration_noticedelivery USING btree (target, tried_at DESC);
CREATE INDEX delivery_to_try ON nova_admin.migration_noticedelivery USING btree (next_try_at) WHERE ((state)::text = 'waiting'::text);
CREATE INDEX django_admin_log_content_type_id_c4bce8eb ON nova_admin.django_admin_log USING btree (content_type_id);
CREATE INDEX django_admin_log_user_id_c564eba6 ON nova_admin.django_admin_log USING btree (user_id);
CREATE INDEX django_q_task_id_32882367_like ON nova_admin.django_q_task USING btree (id varchar_pattern_ops);
CREATE INDEX django_session_expire_date_a5c62663 ON nova_admin.django_session USING btree (expire_date);
CREATE INDEX django_session_session_key_c0390e0f_like ON nova_admin.django_session USING btree (session_key varchar_pattern_ops);
CREATE INDEX found_copy_of_client ON nova_admin.migration_foundcopy USING btree (search_id, client_id);
CREATE INDEX item_failed ON nova_admin.migration_runitem USING btree (client_id, act) WHERE ((outcome)::text = ANY ('{failed,refused}'::text[]));
CREATE INDEX item_newest ON nova_admin.migration_runitem USING btree (client_id, act, finished_at DESC NULLS LAST, id DESC) WHERE (NOT ((outcome)::text = ''::text));
CREATE INDEX item_outcome ON nova_admin.migration_runitem USING btree (run_id, outcome, batch);
CREATE INDEX known_value_of_credential ON nova_admin.migration_knownvalue USING btree (client_id, kind, credential_id);
CREATE INDEX known_value_to_rotate ON nova_admin.migration_knownvalue USING btree (client_id) WHERE ((replaced_at IS NULL) AND (NOT stands_in_tables));
CREATE INDEX mfa_authenticator_user_id_0c3a50c0 ON nova_admin.mfa_authenticator USING btree (user_id);
CREATE INDEX migration_campaign_approved_by_id_540b9f57 ON nova_admin.migration_campaign USING btree (approved_by_id);
CREATE INDEX migration_campaign_by_id_f5ac518e ON nova_admin.migration_campaign USING btree (by_id);
CREATE INDEX migration_campaign_state_b76fbecb ON nova_admin.migration_campaign USING btree (state);
CREATE INDEX migration_campaign_state_b76fbecb_like ON nova_admin.migration_campaign USING btree (state varchar_pattern_ops);
CREATE INDEX migration_campaign_steered_by_id_6dec62eb ON nova_admin.migration_campaign USING btree (steered_by_id);
CREATE INDEX migration_clientcomment_by_id_9c4c48af ON nova_admin.migration_clientcomment USING btree (by_id);
CREATE INDEX migration_clientcomment_client_id_ed017690 ON nova_admin.migration_clientcomment USING btree (client_id);
CREATE INDEX migration_clientgroup_key_71f612b9_like ON nova_admin.migration_clientgroup USING btree (key varchar_pattern_ops);
CREATE INDEX migration_clientmigration_comparison_status_566365b4 ON nova_admin.migration_clientmigration USING btree (comparison_status);
CREATE INDEX migration_clientmigration_comparison_status_566365b4_like ON nova_admin.migration_clientmigration USING btree (comparison_status varchar_pattern_ops);
CREATE INDEX migration_clientmigration_phase_da71f927 ON nova_admin.migration_clientmigration USING btree (phase);
CREATE INDEX migration_clientmigration_phase_da71f927_like ON nova_admin.migration_clientmigration USING btree (phase varchar_pattern_ops);
CREATE INDEX migration_clientowner_owner_id_220d48d3 ON nova_admin.migration_clientowner USING btree (owner_id);
CREATE INDEX migration_comparison_client_id_290df09f ON nova_admin.migration_comparison USING btree (client_id);
CREATE INDEX migration_comparison_run_id_6704eec5 ON nova_admin.migration_comparison USING btree (run_id);
CREATE INDEX migration_comparison_status_3f7af328 ON nova_admin.migration_comparison USING btree (status);
CREATE INDEX migration_comparison_status_3f7af328_like ON nova_admin.migration_comparison USING btree (status varchar_pattern_ops);
CREATE INDEX migration_copysearch_by_id_2b28c798 ON nova_admin.migration_copysearch USING btree (by_id);
CREATE INDEX migration_databaseclaim_by_id_92c0469f ON nova_admin.migration_databaseclaim USING btree (by_id);
CREATE INDEX migration_foundcopy_client_id_795cc5b1 ON nova_admin.migration_foundcopy USING btree (client_id);
CREATE INDEX migration_foundcopy_search_id_014c4970 ON nova_admin.migration_foundcopy USING btree (search_id);
CREATE INDEX migration_groupmember_client_id_c1eed22c ON nova_admin.migration_groupmember USING btree (client_id);
CREATE INDEX migration_knownvalue_client_id_670ca39e ON nova_admin.migration_knownvalue USING btree (client_id);
CREATE INDEX migration_logintest_by_id_adf1414b ON nova_admin.migration_logintest USING btree (by_id);
CREATE INDEX migration_logintest_client_id_65107d94 ON nova_admin.migration_logintest USING btree (client_id);
CREATE INDEX migration_moverequest_client_id_0658d952 ON nova_admin.migration_moverequest USING btree (client_id);
CREATE INDEX migration_moverequest_decided_by_id_5ae1ce46 ON nova_admin.migration_moverequest USING btree (decided_by_id);
CREATE INDEX migration_moverequest_requested_by_id_decdaef8 ON nova_admin.migration_moverequest USING btree (requested_by_id);
CREATE INDEX migration_notice_key_f886b47f_like ON nova_admin.migration_notice USING btree (key varchar_pattern_ops);
CREATE INDEX migration_notice_recipient_id_0f213bfb ON nova_admin.migration_notice USING btree (recipient_id);
CREATE INDEX migration_notice_run_id_438501d5 ON nova_admin.migration_notice USING btree (run_id);
CREATE INDEX migration_noticedelivery_notice_id_95e7dd2f ON nova_admin.migration_noticedelivery USING btree (notice_id);
CREATE INDEX migration_noticedelivery_user_id_6b06b1a5 ON nova_admin.migration_noticedelivery USING btree (user_id);
CREATE INDEX migration_noticerule_event_f58e1b22_like ON nova_admin.migration_noticerule USING btree (event varchar_pattern_ops);
CREATE INDEX migration_offboarding_by_id_6b28f30c ON nova_admin.migration_offboarding USING btree (by_id);
CREATE INDEX migration_openmismatch_client_id_a774a5fc ON nova_admin.migration_openmismatch USING btree (client_id);
CREATE INDEX migration_openmismatch_comparison_id_0d217dbc ON nova_admin.migration_openmismatch USING btree (comparison_id);
CREATE INDEX migration_openmismatch_first_seen_at_fc06316d ON nova_admin.migration_openmismatch USING btree (first_seen_at);
CREATE INDEX migration_openmismatch_owner_id_ea55c2be ON nova_admin.migration_openmismatch USING btree (assignee_id);
CREATE INDEX migration_passwordreset_by_id_6ccb800e ON nova_admin.migration_passwordreset USING btree (by_id);
CREATE INDEX migration_passwordreset_user_id_5b4e80fd ON nova_admin.migration_passwordreset USING btree (user_id);
CREATE INDEX migration_phasechange_by_id_be28f89c ON nova_admin.migration_phasechange USING btree (by_id);
CREATE INDEX migration_phasechange_client_id_6fc43748 ON nova_admin.migration_phasechange USING btree (client_id);
CREATE INDEX migration_phasechange_comparison_id_9d1b407b ON nova_admin.migration_phasechange USING btree (comparison_id);
CREATE INDEX migration_plannedversion_planned_at_a744e662 ON nova_admin.migration_plannedversion USING btree (planned_at);
CREATE INDEX migration_plannedversion_version_id_407128c7_like ON nova_admin.migration_plannedversion USING btree (version_id varchar_pattern_ops);
CREATE INDEX migration_rate_kind_970bfcba_like ON nova_admin.migration_rate USING btree (kind varchar_pattern_ops);
CREATE INDEX migration_redaction_client_id_5f0d45ae ON nova_admin.migration_redaction USING btree (client_id);
CREATE INDEX migration_resolution_by_id_d2c6eb11 ON nova_admin.migration_resolution USING btree (by_id);
CREATE INDEX migration_resolution_client_id_94b5c96f ON nova_admin.migration_resolution USING btree (client_id);
CREATE INDEX migration_reveal_by_id_3faa4952 ON nova_admin.migration_reveal USING btree (by_id);
CREATE INDEX migration_reveal_client_id_fd0236df ON nova_admin.migration_reveal USING btree (client_id);
CREATE INDEX migration_rolegrant_group_id_41ef899f ON nova_admin.migration_rolegrant USING btree (group_id);
CREATE INDEX migration_rolegrant_permission_id_51e3f581 ON nova_admin.migration_rolegrant USING btree (permission_id);
CREATE INDEX migration_rotation_by_id_abcf0a8c ON nova_admin.migration_rotation USING btree (by_id);
CREATE INDEX migration_rotation_client_id_ac9137c7 ON nova_admin.migration_rotation USING btree (client_id);
CREATE INDEX migration_rotationschedule_by_id_6997758a ON nova_admin.migration_rotationschedule USING btree (by_id);
CREATE INDEX migration_rotationschedule_client_id_8036b108 ON nova_admin.migration_rotationschedule USING btree (client_id);
CREATE INDEX migration_run_approved_by_id_bd1dd308 ON nova_admin.migration_run USING btree (approved_by_id);
CREATE INDEX migration_run_by_id_735cd70a ON nova_admin.migration_run USING btree (by_id);
CREATE INDEX migration_run_state_db59efef ON nova_admin.migration_run USING btree (state);
CREATE INDEX migration_run_state_db59efef_like ON nova_admin.migration_run USING btree (state varchar_pattern_ops);
CREATE INDEX migration_run_steered_by_id_c851e1cb ON nova_admin.migration_run USING btree (steered_by_id);
CREATE INDEX migration_run_wave_id_ebea5881 ON nova_admin.migration_run USING btree (wave_id);
CREATE INDEX migration_runitem_client_id_6cba4d44 ON nova_admin.migration_runitem USING btree (client_id);
CREATE INDEX migration_runplan_by_id_860fc742 ON nova_admin.migration_runplan USING btree (by_id);
CREATE INDEX migration_runplan_started_by_id_02fb4471 ON nova_admin.migration_runplan USING btree (started_by_id);
CREATE INDEX migration_savedview_user_id_b725a36d ON nova_admin.migration_savedview USING btree (user_id);
CREATE INDEX migration_searchedclient_client_id_97f6d02e ON nova_admin.migration_searchedclient USING btree (client_id);
CREATE INDEX migration_searchedclient_search_id_3bf21d68 ON nova_admin.migration_searchedclient USING btree (search_id);
CREATE INDEX migration_secret_client_id_1f6e6b93 ON nova_admin.migration_secret USING btree (client_id);
CREATE INDEX migration_secret_name_cace2c52_like ON nova_admin.migration_secret USING btree (name varchar_pattern_ops);
CREATE INDEX migration_unsearchedplace_client_id_05347881 ON nova_admin.migration_unsearchedplace USING btree (client_id);
CREATE INDEX migration_unsearchedplace_search_id_4ed0078d ON nova_admin.migration_unsearchedplace USING btree (search_id);
CREATE INDEX migration_wave_group_id_1cd77b5b ON nova_admin.migration_wave USING btree (group_id);
CREATE INDEX migration_waveclient_client_id_567f0ad5 ON nova_admin.migration_waveclient USING btree (client_id);
CREATE INDEX migration_worker_name_4ff36042_like ON nova_admin.migration_worker USING btree (name varchar_pattern_ops);
CREATE INDEX migration_worker_seen_at_df15a56e ON nova_admin.migration_worker USING btree (seen_at);
CREATE INDEX migration_writestop_by_id_f10fff2f ON nova_admin.migration_writestop USING btree (by_id);
CREATE INDEX migration_writestop_started_by_id_2ae9245e ON nova_admin.migration_writestop USING btree (started_by_id);
CREATE INDEX move_by_hand ON nova_admin.migration_phasechange USING btree (id DESC) WHERE (run_id IS NULL);
CREATE INDEX move_of_run ON nova_admin.migration_phasechange USING btree (run_id, client_id);
CREATE INDEX newest_login_test ON nova_admin.migration_logintest USING btree (client_id, store) WHERE is_newest;
CREATE INDEX notice_by_time ON nova_admin.migration_notice USING btree (created_at);
CREATE INDEX notice_to_hand_out ON nova_admin.migration_notice USING btree (id) WHERE (handed_out_at IS NULL);
CREATE INDEX old_login_test ON nova_admin.migration_logintest USING btree (tested_at) WHERE (NOT is_newest);
CREATE UNIQUE INDEX one_newest_login_test ON nova_admin.migration_logintest USING btree (client_id, store, kind, credential_id, label) NULLS NOT DISTINCT WHERE is_newest;
CREATE UNIQUE INDEX one_open_request_a_client ON nova_admin.migration_moverequest USING btree (client_id) WHERE ((state)::text = ANY ('{requested,waiting}'::text[]));
CREATE UNIQUE INDEX one_unfinished_rotation ON nova_admin.migration_rotation USING btree (client_id) WHERE ((outcome)::text = ''::text);
CREATE INDEX open_item_client ON nova_admin.migration_runitem USING btree (client_id) WHERE ((outcome)::text = ''::text);
CREATE INDEX open_mismatch_kind ON nova_admin.migration_openmismatch USING btree (kind);
CREATE INDEX open_mismatch_order ON nova_admin.migration_openmismatch USING btree (slug, client_id, path);
CREATE INDEX open_mismatch_path ON nova_admin.migration_openmismatch USING btree (path);
CREATE INDEX open_write_stop ON nova_admin.migration_writestop USING btree (id DESC) WHERE (started_at IS NULL);
CREATE INDEX planrow_class ON nova_admin.migration_planrow USING btree (plan_id, look, plan_class, client_id);
CREATE INDEX recent_password_reset ON nova_admin.migration_passwordreset USING btree (reset_at DESC);
CREATE INDEX redaction_of_client ON nova_admin.migration_redaction USING btree (client_id, id DESC);
CREATE INDEX refused_login_test ON nova_admin.migration_logintest USING btree (client_id) WHERE (is_newest AND ((outcome)::text = ANY ('{no_database,refused}'::text[])) AND ((store)::text = 'aws'::text));
CREATE INDEX request_of_client ON nova_admin.migration_moverequest USING btree (client_id, id DESC);
CREATE INDEX request_state ON nova_admin.migration_moverequest USING btree (state);
CREATE INDEX resolution_of_client ON nova_admin.migration_resolution USING btree (client_id, id DESC);
CREATE INDEX reveal_of_client ON nova_admin.migration_reveal USING btree (client_id, id DESC);
CREATE INDEX rotation_of_client ON nova_admin.migration_rotation USING btree (client_id, ended_at DESC);
CREATE INDEX secret_differs ON nova_admin.migration_secret USING btree (client_id) WHERE differs;
CREATE INDEX socialaccount_socialaccount_user_id_8146e70c ON nova_admin.socialaccount_socialaccount USING btree (user_id);
CREATE INDEX socialaccount_socialtoken_account_id_951f210e ON nova_admin.socialaccount_socialtoken USING btree (account_id);
CREATE INDEX socialaccount_socialtoken_app_id_636a42d7 ON nova_admin.socialaccount_socialtoken USING btree (app_id);
CREATE INDEX success_index ON nova_admin.django_q_task USING btree ("group", name, func) WHERE success;
CREATE UNIQUE INDEX unique_authenticator_type ON nova_admin.mfa_authenticator USING btree (user_id, type) WHERE ((type)::text = ANY ('{totp,recovery_codes}'::text[]));
CREATE UNIQUE INDEX unique_primary_email ON nova_admin.account_emailaddress USING btree (user_id, "primary") WHERE "primary";
CREATE UNIQUE INDEX unique_verified_email ON nova_admin.account_emailaddress USING btree (email) WHERE verified;
CREATE INDEX wrong_by_time ON nova_admin.migration_wrongpassword USING btree (typed_at);
CREATE INDEX wrong_in_session ON nova_admin.migration_wrongpassword USING btree (session) WHERE (NOT ((session)::text = ''::text));
CREATE TRIGGER note_read BEFORE INSERT OR UPDATE OF reads ON nova_admin.migration_readcount FOR EACH ROW EXECUTE FUNCTION nova_admin.note_read();
CREATE TRIGGER nova_admin_count_truncate BEFORE TRUNCATE ON nova_admin.client_aws_credentials FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_count_write AFTER INSERT OR DELETE OR UPDATE ON nova_admin.client_aws_credentials FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_keep_entries BEFORE DELETE OR UPDATE ON nova_admin.migration_auditcheckpoint FOR EACH ROW EXECUTE FUNCTION nova_admin.refuse_audit_change();
ALTER TABLE nova_admin.migration_auditcheckpoint ENABLE ALWAYS TRIGGER nova_admin_keep_entries;
CREATE TRIGGER nova_admin_keep_entries BEFORE DELETE OR UPDATE ON nova_admin.migration_auditevent FOR EACH ROW EXECUTE FUNCTION nova_admin.refuse_audit_change();
ALTER TABLE nova_admin.migration_auditevent ENABLE ALWAYS TRIGGER nova_admin_keep_entries;
CREATE TRIGGER nova_admin_keep_entries BEFORE DELETE OR UPDATE ON nova_admin.migration_auditlink FOR EACH ROW EXECUTE FUNCTION nova_admin.refuse_audit_change();
ALTER TABLE nova_admin.migration_auditlink ENABLE ALWAYS TRIGGER nova_admin_keep_entries;
CREATE TRIGGER nova_admin_keep_table BEFORE TRUNCATE ON nova_admin.migration_auditcheckpoint FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.refuse_audit_change();
ALTER TABLE nova_admin.migration_auditcheckpoint ENABLE ALWAYS TRIGGER nova_admin_keep_table;
CREATE TRIGGER nova_admin_keep_table BEFORE TRUNCATE ON nova_admin.migration_auditevent FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.refuse_audit_change();
ALTER TABLE nova_admin.migration_auditevent ENABLE ALWAYS TRIGGER nova_admin_keep_table;
CREATE TRIGGER nova_admin_keep_table BEFORE TRUNCATE ON nova_admin.migration_auditlink FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.refuse_audit_change();
ALTER TABLE nova_admin.migration_auditlink ENABLE ALWAYS TRIGGER nova_admin_keep_table;
CREATE TRIGGER users_are_kept BEFORE DELETE ON nova_admin.auth_user FOR EACH ROW EXECUTE FUNCTION nova_admin.refuse_user_deletion();
CREATE TRIGGER nova_admin_count_truncate BEFORE TRUNCATE ON public.client_database_credentials FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_count_truncate BEFORE TRUNCATE ON public.client_email_credentials FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_count_truncate BEFORE TRUNCATE ON public.clients FOR EACH STATEMENT EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_count_write AFTER INSERT OR DELETE OR UPDATE ON public.client_database_credentials FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_count_write AFTER INSERT OR DELETE OR UPDATE ON public.client_email_credentials FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write();
CREATE TRIGGER nova_admin_count_write AFTER INSERT OR DELETE OR UPDATE ON public.clients FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write();
ALTER TABLE ONLY nova_admin.account_emailaddress
    ADD CONSTRAINT account_emailaddress_user_id_2c513194_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.account_emailconfirmation
    ADD CONSTRAINT account_emailconfirm_email_address_id_5b7f8c58_fk_account_e FOREIGN KEY (email_address_id) REFERENCES nova_admin.account_emailaddress(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_group_permissions
    ADD CONSTRAINT auth_group_permissio_permission_id_84c5c92e_fk_auth_perm FOREIGN KEY (permission_id) REFERENCES nova_admin.auth_permission(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_group_permissions
    ADD CONSTRAINT auth_group_permissions_group_id_b120cbf9_fk_auth_group_id FOREIGN KEY (group_id) REFERENCES nova_admin.auth_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_permission
    ADD CONSTRAINT auth_permission_content_type_id_2f476e4b_fk_django_co FOREIGN KEY (content_type_id) REFERENCES nova_admin.django_content_type(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_user_groups
    ADD CONSTRAINT auth_user_groups_group_id_97559544_fk_auth_group_id FOREIGN KEY (group_id) REFERENCES nova_admin.auth_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_user_groups
    ADD CONSTRAINT auth_user_groups_user_id_6a12ed8b_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_user_user_permissions
    ADD CONSTRAINT auth_user_user_permi_permission_id_1fbb5f2c_fk_auth_perm FOREIGN KEY (permission_id) REFERENCES nova_admin.auth_permission(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.auth_user_user_permissions
    ADD CONSTRAINT auth_user_user_permissions_user_id_a95ead1b_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.axes_accessattemptexpiration
    ADD CONSTRAINT axes_accessattemptex_access_attempt_id_6b73a47a_fk_axes_acce FOREIGN KEY (access_attempt_id) REFERENCES nova_admin.axes_accessattempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.client_aws_credentials
    ADD CONSTRAINT client_aws_credentials_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id) ON DELETE CASCADE;
ALTER TABLE ONLY nova_admin.credentials_acceptedobject
    ADD CONSTRAINT credentials_accepted_accepted_by_id_09a018ee_fk_auth_user FOREIGN KEY (accepted_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.credentials_columnmapping
    ADD CONSTRAINT credentials_columnmapping_mapped_by_id_f19fb73e_fk_auth_user_id FOREIGN KEY (mapped_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.django_admin_log
    ADD CONSTRAINT django_admin_log_content_type_id_c4bce8eb_fk_django_co FOREIGN KEY (content_type_id) REFERENCES nova_admin.django_content_type(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.django_admin_log
    ADD CONSTRAINT django_admin_log_user_id_c564eba6_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.mfa_authenticator
    ADD CONSTRAINT mfa_authenticator_user_id_0c3a50c0_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_campaign
    ADD CONSTRAINT migration_campaign_approved_by_id_540b9f57_fk_auth_user_id FOREIGN KEY (approved_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_campaign
    ADD CONSTRAINT migration_campaign_by_id_f5ac518e_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_campaign
    ADD CONSTRAINT migration_campaign_steered_by_id_6dec62eb_fk_auth_user_id FOREIGN KEY (steered_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_clientcomment
    ADD CONSTRAINT migration_clientcomment_by_id_9c4c48af_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_clientmigration
    ADD CONSTRAINT migration_clientmigr_comparison_id_683a1488_fk_migration FOREIGN KEY (comparison_id) REFERENCES nova_admin.migration_comparison(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_clientowner
    ADD CONSTRAINT migration_clientowner_owner_id_220d48d3_fk_auth_user_id FOREIGN KEY (owner_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_comparison
    ADD CONSTRAINT migration_comparison_run_id_6704eec5_fk_migration_run_id FOREIGN KEY (run_id) REFERENCES nova_admin.migration_run(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_copysearch
    ADD CONSTRAINT migration_copysearch_by_id_2b28c798_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_databaseclaim
    ADD CONSTRAINT migration_databaseclaim_by_id_92c0469f_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_foundcopy
    ADD CONSTRAINT migration_foundcopy_search_id_014c4970_fk_migration FOREIGN KEY (search_id) REFERENCES nova_admin.migration_copysearch(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_groupmember
    ADD CONSTRAINT migration_groupmembe_group_id_ce95d3b2_fk_migration FOREIGN KEY (group_id) REFERENCES nova_admin.migration_clientgroup(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_logintest
    ADD CONSTRAINT migration_logintest_by_id_adf1414b_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_moverequest
    ADD CONSTRAINT migration_moverequest_decided_by_id_5ae1ce46_fk_auth_user_id FOREIGN KEY (decided_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_moverequest
    ADD CONSTRAINT migration_moverequest_requested_by_id_decdaef8_fk_auth_user_id FOREIGN KEY (requested_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_notice
    ADD CONSTRAINT migration_notice_recipient_id_0f213bfb_fk_auth_user_id FOREIGN KEY (recipient_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_noticedelivery
    ADD CONSTRAINT migration_noticedeli_notice_id_95e7dd2f_fk_migration FOREIGN KEY (notice_id) REFERENCES nova_admin.migration_notice(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_noticedelivery
    ADD CONSTRAINT migration_noticedelivery_user_id_6b06b1a5_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_offboarding
    ADD CONSTRAINT migration_offboarding_by_id_6b28f30c_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_openmismatch
    ADD CONSTRAINT migration_openmismat_comparison_id_0d217dbc_fk_migration FOREIGN KEY (comparison_id) REFERENCES nova_admin.migration_comparison(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_openmismatch
    ADD CONSTRAINT migration_openmismatch_assignee_id_28c37828_fk_auth_user_id FOREIGN KEY (assignee_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_passwordreset
    ADD CONSTRAINT migration_passwordreset_by_id_6ccb800e_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_passwordreset
    ADD CONSTRAINT migration_passwordreset_user_id_5b4e80fd_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_phasechange
    ADD CONSTRAINT migration_phasechang_comparison_id_9d1b407b_fk_migration FOREIGN KEY (comparison_id) REFERENCES nova_admin.migration_comparison(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_phasechange
    ADD CONSTRAINT migration_phasechange_by_id_be28f89c_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_phasechange
    ADD CONSTRAINT migration_phasechange_run_id_a7a27ed5_fk_migration_run_id FOREIGN KEY (run_id) REFERENCES nova_admin.migration_run(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_planrow
    ADD CONSTRAINT migration_planrow_plan_id_d148452d_fk_migration_runplan_id FOREIGN KEY (plan_id) REFERENCES nova_admin.migration_runplan(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_resolution
    ADD CONSTRAINT migration_resolution_by_id_d2c6eb11_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_reveal
    ADD CONSTRAINT migration_reveal_by_id_3faa4952_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_rolegrant
    ADD CONSTRAINT migration_rolegrant_group_id_41ef899f_fk_auth_group_id FOREIGN KEY (group_id) REFERENCES nova_admin.auth_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_rolegrant
    ADD CONSTRAINT migration_rolegrant_permission_id_51e3f581_fk_auth_perm FOREIGN KEY (permission_id) REFERENCES nova_admin.auth_permission(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_rotation
    ADD CONSTRAINT migration_rotation_by_id_abcf0a8c_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_rotationschedule
    ADD CONSTRAINT migration_rotationsc_group_id_30c76eb8_fk_migration FOREIGN KEY (group_id) REFERENCES nova_admin.migration_clientgroup(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_rotationschedule
    ADD CONSTRAINT migration_rotationschedule_by_id_6997758a_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_run
    ADD CONSTRAINT migration_run_approved_by_id_bd1dd308_fk_auth_user_id FOREIGN KEY (approved_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_run
    ADD CONSTRAINT migration_run_by_id_735cd70a_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_run
    ADD CONSTRAINT migration_run_steered_by_id_c851e1cb_fk_auth_user_id FOREIGN KEY (steered_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_run
    ADD CONSTRAINT migration_run_wave_id_ebea5881_fk_migration_wave_id FOREIGN KEY (wave_id) REFERENCES nova_admin.migration_wave(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_runitem
    ADD CONSTRAINT migration_runitem_run_id_5dbfcf9f_fk_migration_run_id FOREIGN KEY (run_id) REFERENCES nova_admin.migration_run(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_runplan
    ADD CONSTRAINT migration_runplan_by_id_860fc742_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_runplan
    ADD CONSTRAINT migration_runplan_run_id_755bf388_fk_migration_run_id FOREIGN KEY (run_id) REFERENCES nova_admin.migration_run(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_runplan
    ADD CONSTRAINT migration_runplan_started_by_id_02fb4471_fk_auth_user_id FOREIGN KEY (started_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_savedview
    ADD CONSTRAINT migration_savedview_user_id_b725a36d_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_searchedclient
    ADD CONSTRAINT migration_searchedcl_search_id_3bf21d68_fk_migration FOREIGN KEY (search_id) REFERENCES nova_admin.migration_copysearch(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_unsearchedplace
    ADD CONSTRAINT migration_unsearched_search_id_4ed0078d_fk_migration FOREIGN KEY (search_id) REFERENCES nova_admin.migration_copysearch(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_wave
    ADD CONSTRAINT migration_wave_campaign_id_be723696_fk_migration_campaign_id FOREIGN KEY (campaign_id) REFERENCES nova_admin.migration_campaign(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_wave
    ADD CONSTRAINT migration_wave_group_id_1cd77b5b_fk_migration_clientgroup_id FOREIGN KEY (group_id) REFERENCES nova_admin.migration_clientgroup(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_waveclient
    ADD CONSTRAINT migration_waveclient_wave_id_6d6eac2d_fk_migration_wave_id FOREIGN KEY (wave_id) REFERENCES nova_admin.migration_wave(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_writestop
    ADD CONSTRAINT migration_writestop_by_id_f10fff2f_fk_auth_user_id FOREIGN KEY (by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.migration_writestop
    ADD CONSTRAINT migration_writestop_started_by_id_2ae9245e_fk_auth_user_id FOREIGN KEY (started_by_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.socialaccount_socialtoken
    ADD CONSTRAINT socialaccount_social_account_id_951f210e_fk_socialacc FOREIGN KEY (account_id) REFERENCES nova_admin.socialaccount_socialaccount(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.socialaccount_socialtoken
    ADD CONSTRAINT socialaccount_social_app_id_636a42d7_fk_socialacc FOREIGN KEY (app_id) REFERENCES nova_admin.socialaccount_socialapp(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY nova_admin.socialaccount_socialaccount
    ADD CONSTRAINT socialaccount_socialaccount_user_id_8146e70c_fk_auth_user_id FOREIGN KEY (user_id) REFERENCES nova_admin.auth_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.client_database_credentials
    ADD CONSTRAINT client_database_credentials_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.client_email_credentials
    ADD CONSTRAINT client_email_credentials_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id) ON DELETE CASCADE;
