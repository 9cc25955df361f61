#include "cli/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "core/alloc.h"

/* Fits into 80 columns. */
#define QUESTION "[d]etach: the jobs go on  [c]ancel: end them, services first  [Enter] watch on"

struct interrupt {
	enum interrupt_wish unasked;
	sigset_t before;
	int signals;
	bool asking;
	struct termios terminal; /* as it was before we asked */
};

static sigset_t
our_signals(void)
{
	sigset_t ours;
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	return ours;
}

void
interrupt_hold(void)
{
	sigset_t ours = our_signals();
	sigprocmask(SIG_BLOCK, &ours, NULL);
}

struct interrupt *
interrupt_new(enum interrupt_wish unasked)
{
	struct interrupt *interrupt = xcalloc(1, sizeof(*interrupt));
	interrupt->unasked = unasked;
	sigset_t ours = our_signals();
	sigprocmask(SIG_BLOCK, &ours, &interrupt->before);
	interrupt->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	/* A terminal that is gone, a pager that was left: seen when something is written, and no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	return interrupt;
}

static void
stop_asking(struct interrupt *interrupt, struct progress *progress)
{
	if (!interrupt->asking)
		return;
	interrupt->asking = false;
	tcsetattr(STDIN_FILENO, TCSANOW, &interrupt->terminal);
	if (progress != NULL)
		progress_ask(progress, NULL);
}

void
interrupt_free(struct interrupt *interrupt)
{
	if (interrupt == NULL)
		return;
	stop_asking(interrupt, NULL);
	cleanup_close_function(&interrupt->signals);
	sigprocmask(SIG_SETMASK, &interrupt->before, NULL);
	free(interrupt);
}

/* In the background, reading the terminal would stop us. */
static bool
somebody_can_be_asked(void)
{
	return isatty(STDIN_FILENO) == 1 && (isatty(STDOUT_FILENO) == 1 || isatty(STDERR_FILENO) == 1) &&
	       tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* One key is an answer. */
static bool
begin_asking(struct interrupt *interrupt, struct progress *progress)
{
	if (!somebody_can_be_asked() || tcgetattr(STDIN_FILENO, &interrupt->terminal) < 0)
		return false;
	struct termios one_key = interrupt->terminal;
	one_key.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	one_key.c_cc[VMIN] = 1;
	one_key.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &one_key) < 0)
		return false;
	interrupt->asking = true;
	progress_ask(progress, QUESTION);
	return true;
}

static enum interrupt_wish
take_signal(struct interrupt *interrupt, struct progress *progress)
{
	struct signalfd_siginfo information;
	if (read(interrupt->signals, &information, sizeof(information)) != (ssize_t)sizeof(information))
		return INTERRUPT_NONE;
	bool asked_before = interrupt->asking;
	stop_asking(interrupt, progress);
	if (information.ssi_signo != SIGINT || asked_before)
		return INTERRUPT_DETACH;
	return begin_asking(interrupt, progress) ? INTERRUPT_NONE : interrupt->unasked;
}

static enum interrupt_wish
take_answer(struct interrupt *interrupt, struct progress *progress)
{
	char key = '\0';
	ssize_t count = read(STDIN_FILENO, &key, 1);
	if (count < 0 && errno == EINTR)
		return INTERRUPT_NONE;
	enum interrupt_wish wish = INTERRUPT_NONE;
	if (count <= 0 || key == 'd' || key == 'D')
		wish = INTERRUPT_DETACH;
	else if (key == 'c' || key == 'C')
		wish = INTERRUPT_CANCEL;
	else if (key != '\n' && key != '\r')
		return INTERRUPT_NONE;
	stop_asking(interrupt, progress);
	return wish;
}

enum interrupt_wish
interrupt_wait(struct interrupt *interrupt, int descriptor, struct progress *progress)
{
	for (;;) {
		struct pollfd descriptors[] = {
		    {.fd = interrupt->signals, .events = POLLIN},
		    {.fd = interrupt->asking ? STDIN_FILENO : -1, .events = POLLIN},
		    {.fd = descriptor, .events = POLLIN},
		};
		if (poll(descriptors, ARRAY_LENGTH(descriptors), -1) < 0)
			continue;
		enum interrupt_wish wish = INTERRUPT_NONE;
		if (descriptors[0].revents != 0)
			wish = take_signal(interrupt, progress);
		else if (descriptors[1].revents != 0)
			wish = take_answer(interrupt, progress);
		if (wish != INTERRUPT_NONE || descriptors[2].revents != 0)
			return wish;
	}
}
