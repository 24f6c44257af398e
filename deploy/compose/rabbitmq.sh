#!/bin/sh
# RabbitMQ with its password from a file: the official image reads none any more (RABBITMQ_DEFAULT_PASS_FILE ends it since 3.9).
#
# So the password goes into a file of configuration in memory, which only RabbitMQ may read: no environment has it, and no log.

set -eu
umask 077

folder=/tmp/rabbitmq
mkdir -p "$folder/conf.d" "$folder/log"
cp /etc/rabbitmq/conf.d/*.conf "$folder/conf.d/" 2>/dev/null || true # the image's own
cat > "$folder/conf.d/90-crawler.conf" <<CONF
default_user = crawler
default_pass = $(cat /run/secrets/rabbitmq_password)
default_vhost = crawler
CONF
export RABBITMQ_CONFIG_FILES="$folder/conf.d" RABBITMQ_LOG_BASE="$folder/log"
exec docker-entrypoint.sh rabbitmq-server
