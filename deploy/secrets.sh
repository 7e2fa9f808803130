#!/bin/sh
# Make the passwords of docker-compose.yml and the URLs that contain them, each in a file of the folder `secrets`. Files
# that exist are kept, so that the script may run again. Passwords that are in use already: POSTGRES_PASSWORD and
# REDIS_PASSWORD, in letters, digits and -._~ only, because they are part of URLs.
set -eu
umask 077
folder=$(dirname "$0")/../secrets
mkdir -p "$folder"

# Containers run as other users: files are readable, and the folder is closed to everybody else of this machine.
keep() {
    [ -e "$folder/$1" ] || { printf '%s' "$2" > "$folder/$1.new" && chmod 444 "$folder/$1.new" && mv "$folder/$1.new" "$folder/$1"; }
}

random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

keep postgres_password "${POSTGRES_PASSWORD:-$(random)}"
keep redis_password "${REDIS_PASSWORD:-$(random)}"
keep limner_database_url "postgresql://limner:$(cat "$folder/postgres_password")@postgres:5432/limner"
keep limner_redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
