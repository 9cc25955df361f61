/* bench_instant_restic: answers as restic does, at once and without a repository, so that what is left of a job's
 * time and CPU is the runner's. Its snapshots exist in its words only. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const answers[][2] = {
    {"version", "restic 0.18.0 compiled with go1.24.4 on linux/amd64\n"},
    {"cat", "{\"version\":2,\"id\":\"5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b\","
	    "\"chunker_polynomial\":\"25b468838dcb75\"}\n"},
    {"snapshots", "[]\n"},
    {"forget", "[]\n"},
};

static void
back_up(void)
{
	/* A status line as often as in a backup of a second. */
	for (int i = 1; i <= 10; i++)
		printf("{\"message_type\":\"status\",\"percent_done\":%.1f,\"total_files\":10,\"files_done\":%d,"
		       "\"total_bytes\":10000,\"bytes_done\":%d}\n",
		    i / 10.0, i, 1000 * i);
	printf(
	    "{\"message_type\":\"summary\",\"files_new\":0,\"files_changed\":1,\"files_unmodified\":9,\"dirs_new\":0,"
	    "\"dirs_changed\":1,\"dirs_unmodified\":0,\"data_blobs\":1,\"tree_blobs\":1,\"data_added\":1000,"
	    "\"data_added_packed\":800,\"total_files_processed\":10,\"total_bytes_processed\":10000,"
	    "\"total_duration\":0.1,\"snapshot_id\":\"%032d%032d\"}\n",
	    (int)getpid(), (int)getppid());
}

int
main(int argc, char **argv)
{
	for (int word = 1; word < argc; word++) {
		if (strcmp(argv[word], "backup") == 0) {
			back_up();
			return 0;
		}
		for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
			if (strcmp(argv[word], answers[i][0]) == 0) {
				fputs(answers[i][1], stdout);
				return 0;
			}
	}
	return 0;
}
