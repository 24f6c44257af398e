#!/bin/sh
# Make the secrets that the containers read: deploy/secrets.sh [FOLDER]      (make secrets; the folder: secrets/ beside docker-compose.yml)
#
# Those that are missing are made, none is overwritten, none is shown.
# The folder is yours alone (0700). The files in it can be read by all (0644), because each container reads those that it is given
# as a user of its own, and on this machine nobody else gets past the folder.

set -eu
umask 077
export LC_ALL=C

stop() { # WORDS: one line that says what to do
    echo "secrets: $1" >&2
    exit 1
}

case "${1-}" in
-h | --help)
    echo 'deploy/secrets.sh [FOLDER]: make the secrets that are missing in FOLDER (secrets/ beside docker-compose.yml), and overwrite none'
    exit 0
    ;;
-*) stop "there is no option $1: deploy/secrets.sh --help says what there is" ;;
esac
[ $# -le 1 ] || stop "one folder, not $#: deploy/secrets.sh --help says what there is"

folder=${1:-secrets}
[ -n "${1-}" ] || cd "$(dirname "$0")/.."
[ -d "$folder" ] || [ ! -e "$folder" ] || stop "$folder is no folder: move it away, and run this again"
why=$(mkdir -p "$folder" 2>&1) ||
    stop "$folder cannot be made (${why##*: }): make it yourself, or run this as somebody who may"
why=$(chmod 700 "$folder" 2>&1) ||
    stop "$folder cannot be made yours alone (${why##*: }): run this as its owner, or remove it"
cd "$folder"

word() { # 192 bits, in letters that need no escaping in a URL
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

make_one() { # NAME VALUE WORDS: its file, unless there is one
    if [ -e "$1" ]; then
        echo "secrets: $1 is there"
    else
        { printf '%s\n' "$2" > "$1.new" && chmod 644 "$1.new" && mv "$1.new" "$1"; } 2>/dev/null ||
            stop "$folder/$1 cannot be written: see who owns $folder and whether the disk is full, and run this again"
        echo "secrets: $1 is made${3:+: $3}"
    fi
}

filled() { # NAME HOW: stop if there is such a file and nothing is in it
    [ ! -e "$1" ] || [ -f "$1" ] || stop "$folder/$1 is no file: remove it, and run this again"
    [ ! -e "$1" ] || [ -r "$1" ] || stop "$folder/$1 cannot be read: run this as its owner"
    [ ! -e "$1" ] || grep -q '[^[:space:]]' "$1" || stop "$folder/$1 is empty: $2"
}

again="remove it, and run this again"
# A URL holds a password: one without the other would be another password, and it is written there as it is.
for pair in postgres_password:crawl_database_url rabbitmq_password:crawl_amqp_url; do
    password=${pair%%:*}
    url=${pair##*:}
    filled "$url" "$again"
    if [ -e "$url" ]; then
        [ -e "$password" ] ||
            stop "$url is there and $password is not: write the password that stands in the URL into $folder/$password"
        filled "$password" "write the password that stands in $folder/$url into it"
    elif [ -e "$password" ]; then
        filled "$password" "$again"
        case "$(cat "$password")" in
        *[!A-Za-z0-9._~-]*)
            stop "$folder/$password needs escaping in a URL: write one of letters, digits and -._~, or remove it, and run this again"
            ;;
        esac
    fi
done
for name in crawl_api_token grafana_password; do
    filled "$name" "$again"
done

make_one postgres_password "$(word)"
make_one rabbitmq_password "$(word)"
make_one crawl_database_url "postgresql://crawler:$(cat postgres_password)@postgres:5432/crawler"
make_one crawl_amqp_url "amqp://crawler:$(cat rabbitmq_password)@rabbitmq:5672/crawler"
make_one crawl_api_token "$(word)"
make_one grafana_password "$(word)"
make_one crawl_sentry_dsn "" "empty; put a DSN in if Sentry is to be told"
make_one smtp_password "" "empty; Alertmanager sends its mail with it"
make_one pager_token "" "empty; Alertmanager calls with it"
