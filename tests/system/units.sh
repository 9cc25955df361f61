#!/bin/bash
# The units as `cmake --install` puts them, under a real systemd. Runs inside the lab (tests/lab/run) as root:
#
#   units.sh BUILD_DIR      (writable: CMake leaves a list of what it installed there)
#
# A section per promise; prints "ok" or "NOT OK" lines and ends with 1 if anything was not ok.
set -u
build=$1
top=$(mktemp -d)
installed=/usr/local/lib/systemd/system
state=/var/lib/atelier-backup
failures=0

section() { echo "== $1"; }
ok() { # ok WORDS COMMAND...
	local words=$1
	shift
	if "$@" >"$top/out" 2>&1; then
		echo "ok      $words"
	else
		echo "NOT OK  $words ($*)"
		sed 's/^/        /' "$top/out"
		failures=$((failures + 1))
	fi
}
not() { ! "$@"; }
is() { [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }; }
has() { grep -qE -- "$2" <<<"$1" || { echo "no '$2' in: $1"; return 1; }; }
property() { systemctl show -P "$2" "$1"; }
property_is() { is "$(property "$1" "$2")" "$3"; }
until_true() { # polls for at most a minute
	local turn
	for ((turn = 0; turn < 600; turn++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "has not come true: $*"
	return 1
}
# OnFailure= is queued in the moment of the failure, so there is no gap in which a unit that is to come is not seen.
at_rest() {
	local unit
	for unit in atelier-backup{,-runner,-recover}.service; do
		[[ $(property "$unit" ActiveState):$(property "$unit" Job) =~ ^(inactive|failed):0?$ ]] || return 1
	done
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
took() { # took COMMAND...: how many milliseconds until it comes true
	local begun
	begun=$(milliseconds)
	until "$@" >/dev/null 2>&1 || (($(milliseconds) - begun > 60000)); do sleep 0.01; done
	echo $(($(milliseconds) - begun))
}
journal() { sqlite3 "$state/journal.sqlite" "$1"; }
in_repository() { restic -q -r "$top/repository" --password-file "$top/password" --no-cache --no-lock "$@"; }
snapshots() { in_repository snapshots --json | grep -o '"short_id"' | wc -l; }
status_says() { # CODE: the exit code of `status`, its words in $answer
	answer=$(atelier-backup status 2>&1)
	is $? "$1" || { echo "$answer"; return 1; }
}
# What recovery has said since this was asked last.
recovery_said() {
	journalctl --sync
	journalctl -q -o cat --cursor-file "$top/cursor" _SYSTEMD_UNIT=atelier-backup-recover.service \
		SYSLOG_IDENTIFIER=atelier-backup
}
explain() { journalctl --no-pager -q -o short-monotonic -u 'atelier-backup*' -n 40; }

# fresh KIB [OWN]: another first night, with so many KiB a second to the repository; of the journal, too, if OWN is true.
fresh() {
	until_true at_rest
	systemctl reset-failed 2>/dev/null
	systemctl start notes.service
	rm -rf "$state" "$top/repository"
	head -c 4M /dev/urandom >"$top/notes/attachment"
	cat >/etc/atelier/backup-manifest.json <<-END
		{"version": 2, "ownState": ${2:-false},
		 "repository": {"file": "$top/location", "passwordFile": "$top/password"},
		 "schedule": {"maxDelay": 0}, "settle": 1, "limits": {"uploadKiB": $1},
		 "services": {"notes": {"dataDir": "$top/notes", "data": {"sqlite": "$top/notes/app.db"}}}}
	END
}
in_the_window() { not systemctl is-active --quiet notes.service && pgrep -x restic; }
open_window() {
	fresh 800
	systemctl start atelier-backup.service
	until_true in_the_window
}

# A runner that is built with the sanitizers starts a helper when it ends, to look for leaks. It is in the unit's control
# group, and hangs for ever when systemd's SIGTERM meets it. Leaks are looked for by all other tests.
systemctl set-environment ASAN_OPTIONS=detect_leaks=0

cmake --install "$build" >"$top/out" 2>&1 || { cat "$top/out"; exit 1; }
mkdir -m 755 /etc/atelier
echo "$top/repository" >"$top/location"
echo secret >"$top/password"
chmod 600 "$top/location" "$top/password"
cat >/run/systemd/system/notes.service <<END
[Service]
ExecStart=$build/atelier-demo-service $top/notes
END
# So short that the runner has to give signs of life in these tests.
mkdir -p /run/systemd/system/atelier-backup-runner.service.d
printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/atelier-backup-runner.service.d/watchdog.conf
systemctl daemon-reload
systemctl start atelier-backup-runner.socket
systemctl stop notes.service 2>/dev/null
begun=$(milliseconds)
systemctl start notes.service
own=$(($(milliseconds) - begun))
until_true test -s "$top/notes/app.db-wal"

section "the files"
verified=$(systemd-analyze verify "$installed"/atelier-backup{.service,.timer,-runner.socket,-runner.service,-recover.service} 2>&1)
ok "systemd-analyze verify has nothing to say" is "$?:$verified" "0:"
ok "they name the installed program" grep -q '^ExecStart=/usr/local/bin/atelier-backup run$' "$installed/atelier-backup.service"
ok "the socket can be enabled" systemctl enable -q atelier-backup-runner.socket
ok "and recovery" systemctl enable -q atelier-backup-recover.service
manual=$(property atelier-backup.service Documentation)
manual=${manual#file:}
ok "and its documentation" test -s "$manual"

section "the nightly run"
fresh 0
before=$(property notes.service InvocationID)
ok "starts" systemctl start atelier-backup.service
until_true at_rest
ok "ends well" property_is atelier-backup.service Result success
ok "the service runs" systemctl is-active notes.service
ok "and was stopped for it" not property_is notes.service InvocationID "$before"
ok "status is content" status_says 0
ok "there is one snapshot" is "$(snapshots)" 1
journalctl --sync
ok "the system's journal has its fields" has "$(journalctl -q -o cat ATELIER_SERVICE=notes ATELIER_STATE=snapshot)" .
ok "and knows the unit" has "$(journalctl -q -o export -u atelier-backup-runner.service)" ^ATELIER_JOB=1
ok "the runner has ended by itself" property_is atelier-backup-runner.service Result success
ok "its socket is still there" systemctl is-active atelier-backup-runner.socket
ok "no guardian was needed" not test -e "$state/runner.log"
ok "recovery was not needed" is "$(recovery_said)" ''

section "the journal and the manifest"
fresh 0 true
ok "a run" systemctl start atelier-backup.service
until_true at_rest
ok "ends well" property_is atelier-backup.service Result success
ok "there is a snapshot of them" is "$(snapshots)" 2
ok "it is good" is "$(journal "SELECT outcome FROM job WHERE service = 'atelier-backup'")" complete
ok "status is content" status_says 0

section "many commands, each with a runner of its own"
fresh 0
for ((turn = 0; turn < 20; turn++)); do
	systemctl start atelier-backup-runner.service
	systemctl stop atelier-backup-runner.service
done
ok "use up nothing" systemctl start atelier-backup-runner.service
ok "and leave the socket as it is" systemctl is-active atelier-backup-runner.socket
systemctl stop atelier-backup-runner.service

section "the timer"
ok "can be enabled" systemctl enable --now atelier-backup.timer
ok "elapses at two, to the second" has "$(property atelier-backup.timer NextElapseUSecRealtime)" ' 02:00:00 '
systemctl stop atelier-backup.timer
touch -d '2 days ago' /var/lib/systemd/timers/stamp-atelier-backup.timer
before=$(property atelier-backup.service InvocationID)
systemctl start atelier-backup.timer
ok "makes up for a missed night" until_true not property_is atelier-backup.service InvocationID "$before"
until_true at_rest
ok "a second run of the same night ends well" property_is atelier-backup.service Result success
ok "and adds nothing" is "$(journal "SELECT count(*) FROM job WHERE kind = 'backup'")" 1
systemctl disable --now -q atelier-backup.timer

kill_main() { kill -KILL "$(property atelier-backup-runner.service MainPID)"; }
kill_group() { systemctl kill --signal KILL atelier-backup-runner.service; }
kill_each() { xargs -r kill -KILL <"/sys/fs/cgroup$(property atelier-backup-runner.service ControlGroup)/cgroup.procs"; }
hang() { kill -STOP "$(property atelier-backup-runner.service MainPID)"; }
for how in kill_main kill_group kill_each; do
	section "killed while the service is down ($how)"
	open_window
	"$how"
	away=$(took systemctl is-active notes.service)
	echo "        active again after $away ms; its own start takes $own ms"
	ok "the service is active again within a second and its own start" test "$away" -le $((1000 + own))
	until_true at_rest
	ok "the runner came back and ended by itself" property_is atelier-backup-runner.service Result success
	ok "the recovery ended well" property_is atelier-backup-recover.service Result success
	ok "the night ended well for who waited" property_is atelier-backup.service Result success
	ok "the job came to its end" is "$(journal "SELECT state FROM job WHERE kind = 'backup'")" pruned
	ok "there is one snapshot" is "$(snapshots)" 1
	ok "nothing is owed" not test -e "$state/owed"
	ok "no restic is left" not pgrep -x restic
	ok "nor the lock of one" is "$(in_repository list locks)" ''
	ok "status is content" status_says 0
done

section "a runner that hangs"
open_window
hang
ok "the watchdog ends it, and the service is back" until_true systemctl is-active notes.service
until_true at_rest
ok "the job came to its end" is "$(journal "SELECT state FROM job WHERE kind = 'backup'")" pruned

section "ExecStopPost= is killed as well"
mkdir -p /run/systemd/system/atelier-backup-runner.service.d
printf '[Service]\nExecStopPost=\nExecStopPost=/bin/sh -c "kill -KILL $$$$"\nRestart=no\n' \
	>/run/systemd/system/atelier-backup-runner.service.d/broken.conf
systemctl daemon-reload
open_window
kill_main
away=$(took systemctl is-active notes.service)
echo "        active again after $away ms; its own start takes $own ms"
ok "the recovery unit brings the service back, within a second" test "$away" -le $((1000 + own))
until_true at_rest
ok "the job came to its end" is "$(journal "SELECT state FROM job WHERE kind = 'backup'")" pruned
rm /run/systemd/system/atelier-backup-runner.service.d/broken.conf
systemctl daemon-reload

section "the nightly unit is stopped by somebody"
open_window
ok "it stops" systemctl stop atelier-backup.service
ok "the runner goes on" systemctl is-active atelier-backup-runner.service
until_true at_rest
ok "and ends the job" is "$(journal "SELECT state FROM job WHERE kind = 'backup'")" pruned
ok "status is content" status_says 0

section "the runner is stopped by somebody"
recovery_said >/dev/null
open_window
ok "it stops" systemctl stop atelier-backup-runner.service
ok "the service is back by then" systemctl is-active notes.service
until_true at_rest
ok "nobody recovers what needs no recovery" is "$(recovery_said)" ''
ok "the job waits" is "$(journal "SELECT count(*) FROM job WHERE kind = 'backup' AND outcome = 'running'")" 1
ok "the night is not called good" property_is atelier-backup.service Result exit-code
ok "status tells of it" status_says 1
ok "and how to go on" has "$answer" recover
ok "recovery by hand" timeout 60 atelier-backup recover
ok "ends the job" is "$(journal "SELECT state FROM job WHERE kind = 'backup'")" pruned
ok "status is content" status_says 0

section "a run that fails by itself"
fresh 0
: >"$top/password"
systemctl start atelier-backup.service 2>/dev/null
until_true at_rest
ok "is a failed unit" property_is atelier-backup.service Result exit-code
ok "and no recovery follows" is "$(recovery_said)" ''
echo secret >"$top/password"

section "recovery beside a run that is well"
open_window
ok "ends soon: what is owed is in good hands" timeout 45 systemctl start atelier-backup-recover.service
ok "well, too" property_is atelier-backup-recover.service Result success
until_true at_rest
ok "the run ended well" property_is atelier-backup.service Result success
ok "there is one snapshot" is "$(snapshots)" 1

section "commands beside the units"
open_window
ok "a second command hands over to the same runner" timeout 60 atelier-backup backup notes --detach
ok "status --watch needs a terminal" not atelier-backup status --watch
ok "cancel" timeout 60 atelier-backup cancel 1
ok "the service is back" systemctl is-active notes.service
until_true at_rest
ok "the night was cancelled" property_is atelier-backup.service ExecMainStatus 4

section "at boot"
open_window
systemctl stop atelier-backup-runner.socket
systemctl mask --runtime -q atelier-backup-recover.service
printf '[Service]\nExecStopPost=\nRestart=no\n' \
	>/run/systemd/system/atelier-backup-runner.service.d/broken.conf
systemctl daemon-reload
systemctl kill --signal KILL atelier-backup.service atelier-backup-runner.service
until_true at_rest
ok "nobody has brought the service back" not systemctl is-active notes.service
rm /run/systemd/system/atelier-backup-runner.service.d/broken.conf
systemctl unmask --runtime -q atelier-backup-recover.service
systemctl daemon-reload
ok "what boot starts ends well" timeout 60 systemctl start atelier-backup-recover.service
ok "the service is back" systemctl is-active notes.service
ok "and with it came the socket" systemctl is-active atelier-backup-runner.socket
until_true at_rest
ok "the job came to its end" is "$(journal "SELECT state FROM job WHERE kind = 'backup'")" pruned

section "a second instance, as the documentation makes one"
fresh 0
sed -n '/^    for unit in/,/^    systemctl daemon-reload/p' "$manual" >"$top/make-instance"
ok "its units are made" bash -eu "$top/make-instance"
mkdir /etc/media
mv /etc/atelier/backup-manifest.json /etc/media/manifest.json
verified=$(systemd-analyze verify /etc/systemd/system/media-backup{.service,.timer,-runner.socket,-runner.service,-recover.service} 2>&1)
ok "systemd-analyze verify has nothing to say" is "$?:$verified" "0:"
ok "it starts" systemctl start media-backup.service
ok "ends well" until_true property_is media-backup.service ActiveState inactive
ok "there is one snapshot" is "$(snapshots)" 1
ok "the first instance knows nothing of it" not test -e "$state"
ok "its runner is its own" test -e /run/media-backup
ok "its recovery, too" property_is media-backup-runner.service OnFailure media-backup-recover.service
ok "recovery" systemctl start media-backup-recover.service
ok "looks at its state" test -e /var/lib/media-backup/journal.sqlite
ok "and nowhere else" not test -e "$state"

echo
if [[ $failures -gt 0 ]]; then
	explain
	echo "$failures things are not ok"
	exit 1
fi
echo 'all is well'
