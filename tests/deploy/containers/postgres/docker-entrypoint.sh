#!/bin/bash
# As the official one, for what docker-compose.yml asks of it: a superuser with a password from a file, and scripts of the first start.
set -euo pipefail

[ "$(id -u)" != 0 ] || { echo "the stand-in runs as user 999 alone" >&2; exit 1; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --auth-local=trust --auth-host=scram-sha-256 \
        --pgdata="$PGDATA" >/dev/null
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --silent --wait --pgdata="$PGDATA" --options="$(printf '%q ' "${@:2}" -c listen_addresses= -p 5432)" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        if [ -x "$script" ]; then "$script"; else . "$script"; fi
    done
    pg_ctl --silent --wait --pgdata="$PGDATA" --mode=fast stop
fi
exec "$@"
