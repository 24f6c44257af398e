#!/bin/bash
# As the official one: it refuses the variables that are no more, and becomes the server.
set -euo pipefail

for old in RABBITMQ_DEFAULT_PASS_FILE RABBITMQ_DEFAULT_USER_FILE RABBITMQ_VM_MEMORY_HIGH_WATERMARK; do
    [ -z "${!old:-}" ] || { echo "error: $old is set but deprecated" >&2; exit 1; }
done
export RUNNING_UNDER_SYSTEMD=true
exec "$@"
