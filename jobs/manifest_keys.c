#include "jobs/manifest_internal.h"

#include "core/clock.h"

#define DRAFT(field)   offsetof(struct manifest_draft, field)
#define SERVICE(field) offsetof(struct service_draft, field)

/* Offsets in a struct that is a field of a draft. */
#define INSIDE(draft, outer, field) (offsetof(struct draft, outer.field) - offsetof(struct draft, outer))
#define REPOSITORY(field)           INSIDE(manifest_draft, repository, field)
#define SCHEDULE(field)             INSIDE(manifest_draft, schedule, field)
#define LIMIT(field)                INSIDE(manifest_draft, limits, field)
#define RETRY(field)                INSIDE(manifest_draft, retry, field)
#define DATA(field)                 INSIDE(service_draft, data, field)
#define DATABASE(field)             offsetof(struct database_draft, field)
#define KEEP(field)                 offsetof(struct retention_draft, policy.field)
#define PRUNE(field)                offsetof(struct prune_settings, field)
#define DEADLINE(field)             offsetof(struct deadlines, field)

#define RANGE(from, to) .lowest = (from), .highest = (to)
#define DEADLINE_RANGE  RANGE(USEC_PER_SEC, 7 * USEC_PER_DAY)
#define OVERDUE_RANGE   RANGE(USEC_PER_MIN, 366 * USEC_PER_DAY)
#define KEEP_RANGE      RANGE(0, RETENTION_MOST)
#define PER_CENT_RANGE  RANGE(1, 100)
#define MEBIBYTE        (INT64_C(1) << 20)
#define TEBIBYTE        (INT64_C(1) << 40)
/* restic takes an int and multiplies it by 1024. */
#define RATE_RANGE RANGE(0, 2000000)

static const struct manifest_key repository_keys[] = {
    {"file", MANIFEST_PATH, 2, 0, REPOSITORY(file), .initial = "\"/run/agenix/restic/repo\"",
	.doc = "The file that holds the location of the restic repository."},
    {"passwordFile", MANIFEST_PATH, 2, 0, REPOSITORY(password_file), .initial = "\"/run/agenix/restic/password\"",
	.doc = "The file that holds its password."},
    {"environmentFile", MANIFEST_PATH, 2, 0, REPOSITORY(environment_file),
	.doc = "Credentials for restic, in the syntax of systemd's `EnvironmentFile=`; never run by "
	       "a shell. Default: `/run/agenix/restic/env` if there is such a file. One that is "
	       "named here is required."},
    {"cacheDir", MANIFEST_PATH, 2, 0, REPOSITORY(cache_directory),
	.doc = "restic's cache. Default: `cache` in the state directory."},
    {"program", MANIFEST_PROGRAM, 2, 0, REPOSITORY(program), .initial = "\"restic\"",
	.doc = "restic itself: a name to be found in `PATH`, or an absolute path. `--restic` comes "
	       "first."},
    {"initialize", MANIFEST_SWITCH, 2, 0, REPOSITORY(initialize), .initial = "true",
	.doc = "Whether a backup makes the repository if none was ever seen at its place."},
    {.name = NULL},
};

static const struct manifest_key schedule_keys[] = {
    {"time", MANIFEST_TIME, 2, 0, SCHEDULE(time), .initial = "\"02:00\"",
	.doc = "When `atelier-backup run` is called each day, in local time; `status` computes the "
	       "next backup from it."},
    {"maxDelay", MANIFEST_DURATION, 2, 0, SCHEDULE(max_delay), RANGE(0, USEC_PER_DAY), .initial = "\"2h\"",
	.doc = "Each job of `run` waits for a random time of at most this."},
    {.name = NULL},
};

static const struct manifest_key limit_keys[] = {
    {"parallel", MANIFEST_NUMBER, 2, 0, LIMIT(parallel), RANGE(1, 64), .initial = "2",
	.doc = "Jobs at work at the same time."},
    {"uploadKiB", MANIFEST_NUMBER, 2, 0, LIMIT(upload_kib), RATE_RANGE, .initial = "0",
	.doc = "Upload limit of each restic in KiB/s; 0 is none."},
    {"downloadKiB", MANIFEST_NUMBER, 2, 0, LIMIT(download_kib), RATE_RANGE, .initial = "0",
	.doc = "Download limit of each restic in KiB/s; 0 is none."},
    {"nice", MANIFEST_NUMBER, 2, 0, LIMIT(nice), RANGE(0, 19), .initial = "10",
	.doc = "How much restic steps back for other processes (nice(1))."},
    {"ioClass", MANIFEST_IO_CLASS, 2, 0, LIMIT(io_class), .initial = "\"best-effort\"",
	.doc = "restic's I/O class (ionice(1)). `idle` may keep a stopped service away for long on a "
	       "busy disk."},
    {"ioLevel", MANIFEST_NUMBER, 2, 0, LIMIT(io_level), RANGE(0, 7), .initial = "7",
	.doc = "restic's level within `best-effort`; 7 comes last."},
    {.name = NULL},
};

static const struct manifest_key deadline_keys[] = {
    {"preflight", MANIFEST_DURATION, 2, 0, DEADLINE(preflight), DEADLINE_RANGE, .initial = "\"5m\"",
	.doc = "For asking the repository and looking at everything else while the service is up."},
    {"hook", MANIFEST_DURATION, 2, 0, DEADLINE(hook), DEADLINE_RANGE, .initial = "\"10m\"",
	.doc = "For each of `preBackup` and `postBackup`."},
    {"stop", MANIFEST_DURATION, 2, 0, DEADLINE(stop), DEADLINE_RANGE, .initial = "\"5m\"",
	.doc = "Until all units are stopped and the databases are folded."},
    {"snapshot", MANIFEST_DURATION, 2, 0, DEADLINE(snapshot), DEADLINE_RANGE, .initial = "\"12h\"",
	.doc = "For restic's backup. When it runs out, the service is brought back first."},
    {"start", MANIFEST_DURATION, 2, 0, DEADLINE(start), DEADLINE_RANGE, .initial = "\"5m\"",
	.doc = "Until all units run again."},
    {.name = NULL},
};

static const struct manifest_key retry_keys[] = {
    {"attempts", MANIFEST_NUMBER, 2, 0, RETRY(attempts), RANGE(1, 100), .initial = "3",
	.doc = "Tries in all, if failures may pass by themselves."},
    {"delay", MANIFEST_DURATION, 2, 0, RETRY(delay), RANGE(0, USEC_PER_DAY), .initial = "\"5m\"",
	.doc = "Wait before the second try; it doubles with each further one, up to an hour."},
    {.name = NULL},
};

static const struct manifest_key retention_keys[] = {
    {"last", MANIFEST_NUMBER, 2, 0, KEEP(last), KEEP_RANGE, .initial = "3",
	.doc = "The newest snapshots that are kept."},
    {"daily", MANIFEST_NUMBER, 2, 0, KEEP(daily), KEEP_RANGE, .initial = "7",
	.doc = "The newest snapshot of a day is kept for so many days."},
    {"weekly", MANIFEST_NUMBER, 2, 0, KEEP(weekly), KEEP_RANGE, .initial = "5",
	.doc = "The newest of a week (Monday to Sunday) for so many weeks."},
    {"monthly", MANIFEST_NUMBER, 2, 0, KEEP(monthly), KEEP_RANGE, .initial = "12",
	.doc = "The newest of a month for so many months."},
    {"yearly", MANIFEST_NUMBER, 2, 0, KEEP(yearly), KEEP_RANGE, .initial = "0",
	.doc = "The newest of a year for so many years."},
    {.name = NULL},
};

static const struct manifest_key prune_keys[] = {
    {"every", MANIFEST_INTERVAL, 2, 0, PRUNE(every), RANGE(USEC_PER_HOUR, 366 * USEC_PER_DAY), .initial = "\"7d\"",
	.doc = "How often `restic prune` gives the room of removed snapshots back. `\"never\"`: somebody else does."},
    {"maxRepackSize", MANIFEST_SIZE, 2, 0, PRUNE(max_repack_bytes), RANGE(MEBIBYTE, TEBIBYTE), .initial = "\"1GiB\"",
	.doc = "What one prune may copy within the repository; the rest comes the next time."},
    {"maxDuration", MANIFEST_DURATION, 2, 0, PRUNE(max_duration), DEADLINE_RANGE, .initial = "\"2h\"",
	.doc = "How long one prune may take. Backups wait for it."},
    {.name = NULL},
};

static const struct manifest_key database_keys[] = {
    {"database", MANIFEST_NAME, 2, 0, DATABASE(database), .doc = "The database's name. Required."},
    {"host", MANIFEST_SERVER, 2, 0, DATABASE(host),
	.doc = "Where its server is: a name, an address, or the directory of its socket. Default: the first of "
	       "`/run/postgresql` and `/tmp` that has a socket."},
    {"port", MANIFEST_PORT, 2, 0, DATABASE(port), .doc = "From 1 to 65535. Default: 5432."},
    {"user", MANIFEST_NAME, 2, 0, DATABASE(user),
	.doc = "Who asks; over a socket, the operating system's user of that name. Default: `postgres`."},
    {"passfile", MANIFEST_PATH, 2, 0, DATABASE(passfile),
	.doc = "The file that has the password, as libpq reads it (0600). No key takes a password itself."},
    {.name = NULL},
};

static const struct manifest_key data_keys[] = {
    {"sqlite", MANIFEST_ONE_PATH, 1, 1, DATA(sqlite),
	.doc = "The main file of a SQLite database. The directory it lies in is backed up."},
    {"sqlite", MANIFEST_PATHS, 2, 0, DATA(sqlite),
	.doc = "The main files of SQLite databases. The directories they lie in are backed up."},
    {"postgres", MANIFEST_NAMES, 1, 1, DATA(postgres), .doc = "PostgreSQL databases. They are dumped."},
    {"postgres", MANIFEST_DATABASES, 2, 0, DATA(postgres), database_keys,
	.doc = "PostgreSQL databases. They are dumped. A name alone is a database of the local server."},
    {"files", MANIFEST_PATHS, 1, 0, DATA(files), .doc = "Directories and files that are backed up."},
    {"exclude", MANIFEST_PATTERNS, 1, 0, DATA(excludes),
	.doc = "What restic leaves out (patterns of `restic backup --exclude`), besides `*.log`, "
	       "`node_modules` and `.git`."},
    {.name = NULL},
};

const struct manifest_key manifest_service_keys[] = {
    {"dataDir", MANIFEST_PATH, 1, 0, SERVICE(data_directory),
	.doc = "Where the service keeps its state. Not backed up for itself: what is, is declared in "
	       "`data`."},
    {"data", MANIFEST_OBJECT, 1, 0, SERVICE(data), data_keys, .doc = "What the service's state consists of."},
    {"paths", MANIFEST_PATHS, 1, 0, SERVICE(paths),
	.doc = "Directories and files that are backed up, as in `data.files`; the form of manual "
	       "entries."},
    {"exclude", MANIFEST_PATTERNS, 1, 0, SERVICE(excludes), .doc = "The same as `data.exclude`; both count."},
    {"manual", MANIFEST_SWITCH, 1, 0, SERVICE(manual),
	.doc = "Says that the entry was written by hand; its snapshots get the tag `type:manual`. "
	       "Default: false."},
    {"mkService", MANIFEST_SWITCH, 2, 0, SERVICE(mk_service),
	.doc = "Says that the entry was declared by mkService: restic leaves `cache` and `tmp` out, too. Default: "
	       "false."},
    {"tags", MANIFEST_TAGS, 1, 0, SERVICE(tags),
	.doc = "Tags for the snapshots, besides `service:NAME` and `type:TYPE`. No comma, and none "
	       "that begins with `service:`, `type:` or `job:`."},
    {"preBackup", MANIFEST_SHELL, 1, 0, SERVICE(pre_backup),
	.doc = "Run by `/bin/sh -e -c` before anything is stopped. If it fails, so does the backup. "
	       "\"\" is none."},
    {"postBackup", MANIFEST_SHELL, 1, 0, SERVICE(post_backup),
	.doc = "Run the same way at the end, also after a failure or a crash: it is owed from the "
	       "moment `preBackup` begins. \"\" is none."},
    {"stopForBackup", MANIFEST_SWITCH, 2, 0, SERVICE(stop_for_backup),
	.doc = "Whether the service is stopped for its backup. Default: true if there is "
	       "`data.sqlite` or a `stopUnits` that is not empty. The SQLite databases of a service that is "
	       "not stopped are copied while they are in use."},
    {"stopUnits", MANIFEST_UNITS, 2, 0, SERVICE(stop_units),
	.doc = "The units to stop, with suffix. Default: `NAME.service` if the service is to be "
	       "stopped. `[]` says that `preBackup` stops it."},
    {"overdueAfter", MANIFEST_DURATION, 2, 0, SERVICE(overdue_after), OVERDUE_RANGE,
	.doc = "For this service. Default: that of the top level."},
    {"maxShrink", MANIFEST_NUMBER, 2, 0, SERVICE(max_shrink), PER_CENT_RANGE,
	.doc = "For this service. Default: that of the top level."},
    {"deadlines", MANIFEST_OBJECT, 2, 0, SERVICE(deadlines), deadline_keys,
	.doc = "For this service. Default: those of the top level, one by one."},
    {"retention", MANIFEST_RETENTION, 2, 0, SERVICE(retention), retention_keys,
	.doc = "For this service. Default: that of the top level, number by number."},
    {.name = NULL},
};

/* The version comes first: it decides about all rows below. */
const struct manifest_key manifest_keys[] = {
    {"version", MANIFEST_VERSION, 1, 0, DRAFT(version), .initial = "1", .doc = "The version of the format."},
    {"services", MANIFEST_SERVICES, 1, 0, DRAFT(services), manifest_service_keys,
	.doc = "The services by name. Required. A name is made of letters, digits and `:_.@-`, has "
	       "at most 200 characters and begins with neither `.` nor `-`; `atelier-backup` is taken."},
    {"host", MANIFEST_HOST, 2, 0, DRAFT(host),
	.doc = "The host name in the snapshots. Pin it: a host that is renamed loses sight of its "
	       "old snapshots. Default: the machine's."},
    {"repository", MANIFEST_OBJECT, 2, 0, DRAFT(repository), repository_keys, .doc = "Where the backups go."},
    {"schedule", MANIFEST_OBJECT, 2, 0, DRAFT(schedule), schedule_keys, .doc = "When they are made."},
    {"limits", MANIFEST_OBJECT, 2, 0, DRAFT(limits), limit_keys, .doc = "What they may use."},
    {"deadlines", MANIFEST_OBJECT, 2, 0, DRAFT(deadlines), deadline_keys,
	.doc = "How long each part of a job may take."},
    {"retry", MANIFEST_OBJECT, 2, 0, DRAFT(retry), retry_keys, .doc = "What follows a failure that may pass."},
    {"overdueAfter", MANIFEST_DURATION, 2, 0, DRAFT(overdue_after), OVERDUE_RANGE, .initial = "\"30h\"",
	.doc = "A service is overdue when its last good backup is older than this."},
    {"settle", MANIFEST_DURATION, 2, 0, DRAFT(settle), RANGE(0, 10 * USEC_PER_MIN), .initial = "\"2s\"",
	.doc = "How long a started unit has to stay up before it counts as running."},
    {"maxShrink", MANIFEST_NUMBER, 2, 0, DRAFT(max_shrink), PER_CENT_RANGE, .initial = "50",
	.doc = "How many per cent of the files or of the bytes may be gone since the last good backup. A backup "
	       "that lacks more is partial: an alarm, and nothing is removed for it. 100 never alarms."},
    {"retention", MANIFEST_RETENTION, 2, 0, DRAFT(retention), retention_keys,
	.doc = "Which snapshots of a service are kept; the others are removed. \"keep-all\": nothing is removed."},
    {"prune", MANIFEST_OBJECT, 2, 0, DRAFT(prune), prune_keys,
	.doc = "When the room of removed snapshots is given back, and what that may cost."},
    {"statusGroup", MANIFEST_GROUP, 2, 0, DRAFT(status_group),
	.doc = "A group whose members may read status through the runner's socket. Default: only root may."},
    {"ownState", MANIFEST_SWITCH, 2, 0, DRAFT(own_state), .initial = "true",
	.doc =
	    "Whether every run also backs up the journal and this file, as the built-in service `atelier-backup`."},
    {.name = NULL},
};

const struct manifest_type_record manifest_types[] = {
#define X(name, shape, words, example) [MANIFEST_##name] = {SHAPE_##shape, words, example},
    MANIFEST_TYPE_LIST(X)
#undef X
};
