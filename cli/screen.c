#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <wchar.h>

#include "cli/terminal.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/text.h"

#define ENTER     "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE     "\033[?25h\033[?1049l"
#define HOME      "\033[H"
#define END_LINE  "\033[K"
#define END_BELOW "\033[J"
#define PLAIN     "\033[0m"

struct screen {
	struct termios terminal; /* as it was */
	sigset_t before;
	int signals;
	char *shown; /* NULL: draw in any case */
};

/* ---- taking and giving back ---- */

/* To a terminal that is gone nothing can be written, and nobody is left to be told. */
static void
say(const char *bytes, size_t length)
{
	if (file_write_all(STDOUT_FILENO, bytes, length) < 0)
		errno = 0;
}

static void
take(struct screen *screen)
{
	struct termios keys = screen->terminal;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	keys.c_cc[VMIN] = 1;
	keys.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &keys);
	say(ENTER, strlen(ENTER));
	replace_string(&screen->shown, NULL);
}

static void
give_back(struct screen *screen)
{
	say(LEAVE, strlen(LEAVE));
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &screen->terminal);
}

static void
block_signals(struct screen *screen)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
	sigset_t ours;
	sigemptyset(&ours);
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
		sigaddset(&ours, numbers[i]);
	sigprocmask(SIG_BLOCK, &ours, &screen->before);
	screen->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

struct screen *
screen_open(struct error *error)
{
	struct screen *screen = xcalloc(1, sizeof(*screen));
	const char *term = getenv("TERM");
	if (isatty(STDOUT_FILENO) != 1 || term == NULL || strcmp(term, "dumb") == 0 ||
	    tcgetattr(STDIN_FILENO, &screen->terminal) < 0) {
		free(screen);
		error_set(error, ERROR_USAGE, "--watch wants a terminal");
		error_hint(
		    error, "programs ask `atelier-backup status --json`, and `atelier-backup follow` prints lines");
		return NULL;
	}
	block_signals(screen);
	take(screen);
	return screen;
}

void
screen_close(struct screen *screen)
{
	if (screen == NULL)
		return;
	give_back(screen);
	cleanup_close_function(&screen->signals);
	sigprocmask(SIG_SETMASK, &screen->before, NULL);
	free(screen->shown);
	free(screen);
}

/* ---- drawing ---- */

static size_t
length_of_sequence(const char *at, const char *end)
{
	const char *letter = at + 2;
	if (end - at < 2 || at[0] != '\033' || at[1] != '[')
		return 0;
	while (letter < end && *letter != 'm')
		letter++;
	return letter < end ? (size_t)(letter - at) + 1 : 0;
}

char *
screen_cut(const char *line, size_t length, size_t columns)
{
	const char *at = line, *end = line + length;
	size_t used = 0;
	bool coloured = false;
	while (at < end) {
		size_t sequence = length_of_sequence(at, end);
		if (sequence > 0) {
			coloured = true;
			at += sequence;
			continue;
		}
		wchar_t character;
		mbstate_t state = {0};
		size_t bytes = mbrtowc(&character, at, (size_t)(end - at), &state);
		if (bytes == 0 || bytes > (size_t)(end - at))
			bytes = 1, character = L'?';
		int width = wcwidth(character);
		size_t wide = width > 0 ? (size_t)width : 0;
		if (used + wide > columns)
			break;
		used += wide;
		at += bytes;
	}
	struct text cut = {0};
	text_add_bytes(&cut, line, (size_t)(at - line));
	if (coloured && at < end)
		text_add(&cut, PLAIN);
	return text_take(&cut);
}

static void
add_line(struct text *frame, const char *line, size_t length, size_t columns)
{
	cleanup_free char *cut = screen_cut(line, length, columns);
	text_add(frame, cut);
	text_add(frame, END_LINE);
}

static char *
make_frame(const char *text, const char *footer)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	struct text frame = {0};
	text_add(&frame, HOME);
	for (unsigned row = 1; row < size.ws_row && *text != '\0'; row++) {
		size_t length = strcspn(text, "\n");
		add_line(&frame, text, length, size.ws_col);
		text_add(&frame, "\r\n");
		text += length + (text[length] == '\n');
	}
	add_line(&frame, footer, strlen(footer), size.ws_col);
	text_add(&frame, END_BELOW);
	return text_take(&frame);
}

void
screen_draw(struct screen *screen, const char *text, const char *footer)
{
	cleanup_free char *frame = make_frame(text, footer);
	if (screen->shown != NULL && strcmp(frame, screen->shown) == 0)
		return;
	/* A terminal that was halted (Ctrl-S) gets the next one. */
	struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
	if (poll(&output, 1, 0) <= 0)
		return;
	say(frame, strlen(frame));
	free(screen->shown);
	screen->shown = take_pointer(frame);
}

/* ---- waiting ---- */

static bool
take_signal(struct screen *screen)
{
	struct signalfd_siginfo information;
	if (read(screen->signals, &information, sizeof(information)) != (ssize_t)sizeof(information))
		return true;
	if (information.ssi_signo == SIGTSTP) {
		give_back(screen);
		kill(getpid(), SIGSTOP);
		take(screen);
		return true;
	}
	if (information.ssi_signo != SIGWINCH)
		return false;
	replace_string(&screen->shown, NULL);
	return true;
}

static bool
take_key(void)
{
	char key = '\0';
	ssize_t count = read(STDIN_FILENO, &key, 1);
	if (count < 0)
		return errno == EINTR;
	return count > 0 && key != 'q' && key != 'Q';
}

bool
screen_wait(struct screen *screen, int64_t patience)
{
	struct pollfd descriptors[] = {
	    {.fd = screen->signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	if (poll(descriptors, ARRAY_LENGTH(descriptors), (int)(patience / USEC_PER_MSEC)) <= 0)
		return true;
	if (descriptors[0].revents != 0 && !take_signal(screen))
		return false;
	return descriptors[1].revents == 0 || take_key();
}
