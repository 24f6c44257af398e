#!/bin/sh
# What the official image does once, when its volume is empty: the crawler's user and its database.
#
# The crawler is no superuser, and the superuser has no password: over the network nobody can be it.

set -eu

psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set password `cat /run/secrets/postgres_password`
set log_min_error_statement = panic;
set log_min_duration_statement = -1;
create role crawler login password :'password';
create database crawler owner crawler encoding 'UTF8' template template0;
alter role current_user password null;
SQL
