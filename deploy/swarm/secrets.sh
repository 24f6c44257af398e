#!/bin/sh
# Give the files in secrets/ to the swarm, on one of its managers: deploy/swarm/secrets.sh [NUMBER]
#
# A secret of a swarm never changes. To change one, change its file, give all of them another number, and deploy the stack with it:
#   deploy/swarm/secrets.sh 2 && export FAIRCRAWL_SECRETS=2
# What is there already under its number is left as it is. Nothing of a secret is printed.
set -eu

number="${1:-${FAIRCRAWL_SECRETS:-1}}"
folder="$(cd "$(dirname "$0")/../.." && pwd)/secrets"
names="crawl_database_url crawl_amqp_url crawl_api_token crawl_sentry_dsn postgres_password rabbitmq_password dashboard_users"

case "$number" in
-h | --help) echo "deploy/swarm/secrets.sh [NUMBER]: give the files in secrets/ to the swarm, under a number (1)"; exit 0 ;;
*[!0-9]* | "") echo "the number of the secrets must be a whole number, not $number" >&2; exit 2 ;;
esac
for name in $names; do
    state=
    [ -s "$folder/$name" ] || [ "$name" = crawl_sentry_dsn ] || state=empty
    [ -f "$folder/$name" ] || state=missing
    if [ -n "$state" ]; then
        case "$name" in
        dashboard_users) how="htpasswd -cB secrets/dashboard_users YOUR-NAME" ;;
        *) how="make secrets" ;;
        esac
        echo "secrets/$name is $state: $how" >&2
        exit 1
    fi
done
for name in $names; do
    secret="faircrawl_${name}_$number"
    if docker secret inspect "$secret" >/dev/null 2>&1; then
        echo "$secret is there already"
        continue
    fi
    # A swarm takes no empty secret, and crawl_sentry_dsn may be empty: a line's end is nobody's secret.
    { cat "$folder/$name"; echo; } | docker secret create --label faircrawl=true "$secret" - >/dev/null
    echo "$secret is new"
done
