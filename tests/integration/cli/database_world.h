/* SQLite databases in a world with a repository. */
#ifndef ATELIER_TESTS_INTEGRATION_CLI_DATABASE_WORLD_H
#define ATELIER_TESTS_INTEGRATION_CLI_DATABASE_WORLD_H

#include "tests/integration/cli/repository_world.h"

#include <sqlite3.h>

/* Two tables, and some hundred kilobytes. */
#define ORDERS                                                                                                       \
	"CREATE TABLE orders(n INTEGER PRIMARY KEY, words TEXT); CREATE TABLE customers(name TEXT);"                 \
	"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000)"                             \
	" INSERT INTO orders SELECT x, hex(randomblob(100)) FROM n;"

static inline void
world_run_sql(const struct world *world, const char *name, const char *sql)
{
	cleanup_free char *path = world_path(world, name);
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

#endif
