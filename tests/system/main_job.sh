#!/bin/bash
# The whole program under a real systemd: real units, a real WAL database with a live writer, a real restic repository.
# Runs inside the lab (tests/lab/run) as root: main_job.sh PROGRAM. One section per promise; prints "ok" or "NOT OK" lines and
# ends with 1 if anything was not ok.
set -u
program=$1
top=$(mktemp -d)
export ATELIER_BACKUP_MANIFEST=$top/manifest.json ATELIER_BACKUP_STATE_DIR=$top/state ATELIER_BACKUP_RUNTIME_DIR=$top/run
units=/run/systemd/system
failures=0

section() { echo "== $1"; }
ok() { # ok WORDS COMMAND...
	local words=$1
	shift
	if "$@" >"$top/out" 2>&1; then echo "ok      $words"; else
		echo "NOT OK  $words ($*)"
		sed 's/^/        /' "$top/out"
		failures=$((failures + 1))
	fi
}
not() { ! "$@"; }
is() { [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }; }
has() { grep -qE -- "$2" <<<"$1" || { echo "no '$2' in: $1"; return 1; }; }
active() { systemctl is-active --quiet "$@"; }
invocation() { systemctl show -P InvocationID "$1"; }
backup() { timeout 120 "$program" "$@" >"$top/last" 2>&1; status=$?; last=$(cat "$top/last"); }
until_true() { # until_true COMMAND...: polls for at most 30 s
	local i
	for ((i = 0; i < 300; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	return 1
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
took() { # took COMMAND...: how many milliseconds until it comes true
	local begun
	begun=$(milliseconds)
	until "$@" || (($(milliseconds) - begun > 30000)); do sleep 0.01; done
	echo $(($(milliseconds) - begun))
}
runner() { cat "$top/state/runner.lock"; }
guardian() { ps -o ppid= -p "$(runner)" | tr -d ' '; }
gone() { ! kill -0 "$1" 2>/dev/null; }
restic() { command restic -q -r "$top/repo" --password-file "$top/password" --cache-dir "$top/state/cache" --no-lock "$@"; }

ended() { # ended WORDS CODE: how the last `backup` ended
	if [[ $status == "$2" ]]; then echo "ok      $1"; else
		echo "NOT OK  $1 (exit code $status, not $2)"
		sed 's/^/        /' "$top/last"
		failures=$((failures + 1))
	fi
}
job_count() { sqlite3 "$top/state/journal.sqlite" 'SELECT count(*) FROM job'; }
every_line_is_json() {
	local line
	while IFS= read -r line; do
		[[ $(sqlite3 :memory: -cmd ".parameter init" -cmd ".parameter set :l '$(printf %s "$line" | sed "s/'/''/g")'" 'SELECT json_valid(:l)') == 1 ]] || { echo "$line"; return 1; }
	done <"$1"
}

unit() { cat >"$units/$1"; }
manifest() { # manifest SERVICES-JSON [LIMITS-JSON [SNAPSHOT-DEADLINE]]
	local limits=${2:-'{}'} snapshot=${3:-1h}
	cat >"$ATELIER_BACKUP_MANIFEST" <<-EOF
		{"version": 2,
		 "repository": {"file": "$top/repository", "passwordFile": "$top/password"},
		 "schedule": {"maxDelay": 0}, "retry": {"attempts": 2, "delay": 1}, "settle": 1, "limits": $limits,
		 "deadlines": {"stop": "20s", "start": "20s", "snapshot": "$snapshot"},
		 "services": {$1}}
	EOF
	chmod 600 "$ATELIER_BACKUP_MANIFEST"
}

echo "$top/repo" >"$top/repository"
echo secret >"$top/password"
chmod 600 "$top/repository" "$top/password"
mkdir -p "$top/web" "$top/plain" "$top/idle"
echo content >"$top/plain/file"
echo content >"$top/idle/file"
useradd --system webuser
chown webuser: "$top/web"
chmod 755 "$top"

cat >"$top/writer" <<EOF
#!/bin/bash
cd $top/web
n=0
{
	echo 'PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY, word TEXT);'
	while :; do echo "INSERT INTO row (word) VALUES ('\$((n++))');"; sleep 0.02; done
} | sqlite3 app.db >/dev/null
EOF
chmod 755 "$top/writer"
unit web.service <<EOF
[Service]
ExecStart=$top/writer
User=webuser
EOF
unit web.socket <<EOF
[Socket]
ListenStream=$top/web.sock
EOF
unit web-worker.service <<EOF
[Unit]
Requires=web.service
After=web.service
[Service]
ExecStart=/bin/sleep infinity
EOF
unit idle.service <<EOF
[Service]
ExecStart=/bin/sleep infinity
EOF
systemctl daemon-reload
systemctl start web.socket web.service web-worker.service
until_true test -s "$top/web/app.db-wal"

section "a version 1 manifest, as the earlier tool wrote it"
mkdir -p /run/agenix/restic
cp "$top/repository" /run/agenix/restic/repo
cp "$top/password" /run/agenix/restic/password
cat >"$ATELIER_BACKUP_MANIFEST" <<EOF
{"services": {"web": {"dataDir": "$top/web", "data": {"sqlite": "$top/web/app.db", "postgres": null, "files": [], "exclude": ["*.tmp"]}},
              "plain": {"manual": true, "paths": ["$top/plain"], "exclude": []}}}
EOF
chmod 600 "$ATELIER_BACKUP_MANIFEST"
backup check
ended "check finds nothing wrong" 0
before=$(invocation web.service)
backup backup web
ended "web is complete" 0
ok "web was stopped and started" not is "$(invocation web.service)" "$before"
ok "service, socket and dependant run again" active web.service web.socket web-worker.service
ok "restic saved the folder" has "$(restic ls latest)" "$top/web/app.db$"
ok "no WAL is in the snapshot" not has "$(restic ls latest)" "app.db-(wal|shm)"
restic restore latest --target "$top/restored" >/dev/null
ok "the restored database opens and is whole" is "$(sqlite3 "$top/restored$top/web/app.db" 'PRAGMA integrity_check')" ok
ok "and has rows" test "$(sqlite3 "$top/restored$top/web/app.db" 'SELECT count(*) FROM row')" -gt 0
ok "side files belong to the service" is "$(find "$top/web" ! -user webuser)" ""
ok "tags are as before" has "$(restic snapshots --json)" '"service:web","type:sqlite"'
backup backup --all --json
ok "--json is one document per line" every_line_is_json "$top/last"
backup status
ended "status is content" 0

section "what was not running stays so"
manifest "\"idle\": {\"data\": {\"files\": [\"$top/idle\"]}, \"stopForBackup\": true}"
backup backup idle
ended "complete" 0
ok "idle.service is not started" not active idle.service

section "triggers are kept quiet"
unit tick.service <<EOF
[Service]
ExecStart=/bin/sleep infinity
EOF
unit tick.timer <<EOF
[Timer]
OnActiveSec=1
OnUnitInactiveSec=1
AccuracySec=10ms
EOF
unit tick.path <<EOF
[Path]
PathExists=$top/plain/file
EOF
systemctl daemon-reload
systemctl start tick.service tick.timer tick.path
head -c 4M /dev/urandom >"$top/plain/blob"
manifest "\"tick\": {\"data\": {\"files\": [\"$top/plain\"]}, \"stopForBackup\": true}" '{"uploadKiB": 2000}'
backup backup tick
ended "complete although a timer and a path would wake it" 0
ok "all of them run again" active tick.service tick.timer tick.path
systemctl stop tick.timer tick.path tick.service

section "a unit that comes back during the window"
unit guard.service <<EOF
[Unit]
Upholds=held.service
[Service]
ExecStart=/bin/sleep infinity
EOF
unit held.service <<EOF
[Service]
ExecStart=/bin/sleep infinity
EOF
systemctl daemon-reload
systemctl start guard.service
until_true active held.service
manifest "\"held\": {\"data\": {\"files\": [\"$top/plain\"]}, \"stopForBackup\": true}" '{"uploadKiB": 1000}'
before=$(invocation held.service)
backup backup held
ended "one that would come back at once is not stopped" 1
ok "and who would start it is named" has "$last" "guard.service"
ok "it was left alone" is "$(invocation held.service)" "$before"
systemctl stop guard.service
systemctl start held.service
head -c 4M /dev/urandom >"$top/plain/blob"
(while test ! -e "$top/enough"; do active held.service || systemctl start held.service; sleep 0.2; done) &
backup backup held
touch "$top/enough"
wait $!
ended "one that somebody starts in the window is not called good" 1
ok "and says which unit" has "$last" "held.service came back"
ok "it runs" active held.service
systemctl stop held.service

section "a stop that ends in SIGKILL"
unit stubborn.service <<EOF
[Service]
ExecStart=/bin/bash -c 'trap "" TERM; while :; do sleep 1; done'
TimeoutStopSec=1
EOF
systemctl daemon-reload
systemctl start stubborn.service
manifest "\"stubborn\": {\"data\": {\"files\": [\"$top/idle\"]}, \"stopForBackup\": true}"
backup backup stubborn
ended "is partial" 3
ok "and says so" has "$last" "stubborn.service"
ok "it runs again" active stubborn.service
systemctl kill -s KILL stubborn.service

section "what could not be started again is not stopped"
systemctl start idle.service
ln -sf /dev/null /etc/systemd/system/idle.service
systemctl daemon-reload
before=$(invocation idle.service)
manifest "\"idle\": {\"data\": {\"files\": [\"$top/idle\"]}, \"stopForBackup\": true}, \"gone\": {\"data\": {\"files\": [\"$top/idle\"]}, \"stopForBackup\": true}"
backup check
ok "check names the masked unit" has "$last" "idle.service"
ok "check names the missing unit" has "$last" "gone.service"
ended "and exits with 1" 1
backup backup --all
ended "the jobs fail" 1
ok "the masked unit was left alone" is "$(invocation idle.service)" "$before"
rm /etc/systemd/system/idle.service
systemctl daemon-reload
systemctl stop idle.service

section "a start that fails is said loudly, and recover makes up for it"
unit fragile.service <<EOF
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'test -e $top/may-start'
EOF
systemctl daemon-reload
touch "$top/may-start"
systemctl start fragile.service
rm "$top/may-start"
manifest "\"fragile\": {\"data\": {\"files\": [\"$top/idle\"]}, \"stopForBackup\": true}"
backup backup fragile
ended "the job failed" 1
ok "the unit is named" has "$last" "fragile.service"
backup status
ok "status says what is down" has "$last" "fragile.service"
ended "and exits with 1" 1
touch "$top/may-start"
backup recover
ok "recover has it started" active fragile.service
backup recover
ended "and then has nothing to do" 0

section "a postBackup that fails is given up, and recover runs it"
manifest "\"hooked\": {\"data\": {\"files\": [\"$top/idle\"]}, \"preBackup\": \"true\", \"postBackup\": \"test -e $top/may-end && touch $top/ran\"}"
backup backup hooked
ended "the job failed" 1
ok "and says why" has "$last" "postBackup"
touch "$top/may-end"
backup recover
ended "recover ends well" 0
ok "and has run it" test -e "$top/ran"
backup recover
ok "once" has "$last" "nothing is owed"

section "two services share a unit"
unit shared.service <<EOF
[Service]
ExecStart=/bin/sleep infinity
EOF
systemctl daemon-reload
systemctl start shared.service
head -c 3M /dev/urandom >"$top/plain/blob"
before=$(journalctl -u shared.service -o cat | grep -c Started)
manifest "\"one\": {\"data\": {\"files\": [\"$top/plain\"]}, \"stopUnits\": [\"shared.service\"]}, \"two\": {\"data\": {\"files\": [\"$top/idle\"]}, \"stopUnits\": [\"shared.service\"]}" '{"uploadKiB": 1500}'
backup backup --all
ended "both complete" 0
ok "the unit runs" active shared.service
ok "it was started once, by the last of them" is "$(($(journalctl --sync; journalctl -u shared.service -o cat | grep -c Started) - before))" 1

section "the runner is killed while restic reads"
begun=$(milliseconds)
systemctl stop web.socket web-worker.service web.service
begun=$(milliseconds)
systemctl start web.socket web.service web-worker.service
own=$(($(milliseconds) - begun))
head -c 6M /dev/urandom >"$top/web/blob"
manifest "\"web\": {\"dataDir\": \"$top/web\", \"data\": {\"sqlite\": \"$top/web/app.db\"}}" '{"uploadKiB": 1000}'
timeout 120 "$program" backup web >"$top/last" 2>&1 &
until_true not active web.service
until_true pgrep -x restic
until_true grep -q snapshot "$top/last"
kill -KILL "$(runner)"
away=$(took active web.service web.socket web-worker.service)
echo "        active again after $away ms; their own start takes $own ms"
ok "the service is active again within a second and its own start, and nobody called anything" test "$away" -le $((1000 + own))
wait $!
ok "the command has followed the next runner to the good end" is $? 0
ok "and says so" grep -q 'the runner is gone' "$top/last"
backup follow # the retention that comes after it
ok "no process is left" not pgrep -x restic
ok "no lock is left" is "$(restic list locks)" ""
ok "nothing is owed" not test -e "$top/state/owed"

section "runner and guardian are killed at once"
head -c 6M /dev/urandom >"$top/web/blob"
backup backup web --detach
ended "the job is handed over" 0
until_true not active web.service
until_true pgrep -x restic
first=$(runner) second=$(guardian)
kill -STOP "$second"
kill -KILL "$first" "$second"
until_true gone "$first"
until_true gone "$second"
ok "the service is down, nobody works on it" not active web.service
backup status
ended "status says that it was interrupted" 1
ok "and what to do" has "$last" "recover"
ok "the file of what is owed names the unit" grep -q web.service "$top/state/owed"
backup recover --owed
ended "what is owed can be paid alone" 0
ok "service, socket and dependant run" active web.service web.socket web-worker.service
backup status
ended "the job still waits" 1
backup recover
ended "recover ends well" 0
ok "no process is left" not pgrep -x restic
ok "no lock is left" is "$(restic list locks)" ""
ok "nothing is owed" not test -e "$top/state/owed"

section "asked to end while restic reads"
head -c 6M /dev/urandom >"$top/web/blob"
timeout 120 "$program" backup web >"$top/last" 2>&1 &
until_true not active web.service
until_true grep -q snapshot "$top/last"
kill -TERM "$(runner)"
wait $!
ok "the command does not call that good" is $? 1
ok "the service runs" active web.service web.socket web-worker.service
backup recover
ended "the job goes on later" 0
head -c 6M /dev/urandom >"$top/web/blob"
timeout 120 "$program" backup web >"$top/last" 2>&1 &
pid=$!
until_true pgrep -x restic
pkill -TERM -f "^$program backup web"
wait $pid
ok "a command that is asked to end detaches" is $? 1
job=$(sqlite3 "$top/state/journal.sqlite" "SELECT max(id) FROM job WHERE kind = 'backup'")
backup follow "$job"
ended "and the job goes on" 0
head -c 6M /dev/urandom >"$top/web/blob"
timeout 120 "$program" backup web >"$top/last" 2>&1 &
pid=$!
until_true not active web.service
until_true pgrep -x restic
kill -INT "$(pgrep -f "^$program backup web")"
wait $pid
ok "Ctrl-C cancels" is $? 4
ok "the service runs" active web.service
head -c 6M /dev/urandom >"$top/web/blob"
backup backup web --detach
until_true not active web.service
job=$(sqlite3 "$top/state/journal.sqlite" "SELECT max(id) FROM job WHERE kind = 'backup'")
backup cancel "$job"
ended "so does cancel, from anywhere" 0
ok "the service runs" active web.service

section "an upload that takes too long"
head -c 8M /dev/urandom >"$top/web/blob"
manifest "\"web\": {\"dataDir\": \"$top/web\", \"data\": {\"sqlite\": \"$top/web/app.db\"}}" '{"uploadKiB": 500}' 3s
backup backup web
ended "fails" 1
ok "and says why" has "$last" "snapshot took longer than allowed"
ok "the service runs" active web.service web.socket web-worker.service
backup follow # the retention that comes after it
ok "restic was ended, and took its lock along" is "$(pgrep -x restic; restic list locks)" ""
job=$(sqlite3 "$top/state/journal.sqlite" "SELECT max(id) FROM job WHERE kind = 'backup'")
backed=$(sqlite3 "$top/state/journal.sqlite" "SELECT max(settled_at) FROM obligation WHERE job_id = $job")
ended_at=$(sqlite3 "$top/state/journal.sqlite" "SELECT ended_at FROM job WHERE id = $job")
ok "the service came back before restic was ended" test "$backed" -lt "$ended_at"

section "a second command while one is running"
rm "$top/web/blob"
head -c 4M /dev/urandom >"$top/web/blob"
manifest "\"web\": {\"dataDir\": \"$top/web\", \"data\": {\"sqlite\": \"$top/web/app.db\"}}, \"plain\": {\"manual\": true, \"paths\": [\"$top/plain\"]}" '{"uploadKiB": 1000}'
timeout 120 "$program" backup web >"$top/first" 2>&1 &
until_true pgrep -x restic
before=$(runner)
backup backup plain
ended "hands its job over, follows it, and ends well" 0
ok "to the same runner" is "$(runner)" "$before"
wait $!
ok "the first ends well, too" is $? 0

section "the nightly run"
manifest "\"web\": {\"dataDir\": \"$top/web\", \"data\": {\"sqlite\": \"$top/web/app.db\"}}, \"plain\": {\"manual\": true, \"paths\": [\"$top/plain\"]}"
backup run
ended "ends well" 0
count=$(job_count)
backup run
ok "a second one adds nothing" is "$(job_count)" "$count"
ended "and ends the same" 0
backup status
ended "status is content" 0

echo
if [[ $failures -gt 0 ]]; then
	echo "$failures things are not ok"
	exit 1
fi
echo "all is well"
