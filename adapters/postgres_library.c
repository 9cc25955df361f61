#include "adapters/postgres_library.h"

#include "core/alloc.h"
#include "core/text.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define X(name) {#name, offsetof(struct postgres_library, name)},
    POSTGRES_LIBRARY_LIST(X)
#undef X
};

static int
cannot_load(const char *file, struct error *error)
{
	error_set(error, ERROR_POSTGRES_CLIENT, "cannot load the library %s of PostgreSQL: %s", file, dlerror());
	return error_hint(error, "install it (Debian: apt-get install libpq5)");
}

int
postgres_library_load(const char *file, struct postgres_library *ret_library, struct error *error)
{
	struct postgres_library library;
	void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return cannot_load(file, error);
	for (size_t i = 0; i < ARRAY_LENGTH(functions); i++) {
		void *function = dlsym(handle, functions[i].name);
		if (function == NULL)
			return cannot_load(file, error);
		memcpy((char *)&library + functions[i].offset, &function, sizeof(function));
	}
	*ret_library = library;
	return 0;
}

/* About thirty of them count, and each version knows a few more. */
static void
forget_variables(void)
{
	char **variable = environ;
	while (variable != NULL && *variable != NULL) {
		cleanup_free char *name = xstrndup(*variable, strcspn(*variable, "="));
		/* What comes after it moves up. */
		if (!text_starts_with(name, "PG") || unsetenv(name) < 0)
			variable++;
	}
}

const struct postgres_library *
postgres_library(struct error *error)
{
	static struct postgres_library library;
	static bool loaded;
	if (loaded)
		return &library;
	if (postgres_library_load(ATELIER_LIBPQ, &library, error) < 0)
		return NULL;
	forget_variables();
	loaded = true;
	return &library;
}
