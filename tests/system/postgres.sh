#!/bin/bash
# The tests that have a PostgreSQL server of their own, with the one that is installed here. Runs inside the lab
# (tests/lab/postgres) as root, with the build in /build; ends with 1 if any fails.
set -u
ATELIER_TEST_POSTGRES=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
export ATELIER_TEST_POSTGRES
"$ATELIER_TEST_POSTGRES/postgres" --version
failures=0
for name in adapters-postgres adapters-postgres_dump cli-postgres cli-corpus_postgres; do
	begun=$EPOCHREALTIME
	if "/build/tests/integration-${name}_test"; then verdict='ok    '; else
		verdict='NOT OK'
		failures=$((failures + 1))
	fi
	awk -v a="$begun" -v b="$EPOCHREALTIME" -v n="$name" -v v="$verdict" 'BEGIN { printf "%s  %s (%.0f s)\n", v, n, b - a }'
done
[[ $failures == 0 ]]
