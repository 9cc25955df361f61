/* How a list of problems is shown. */
#ifndef ATELIER_CLI_PROBLEMS_H
#define ATELIER_CLI_PROBLEMS_H

#include <stdio.h>

#include "core/problem.h"

/* By severity, then by place; equal ones keep their order. */
void problems_sort(struct problem_list *problems);

void problems_print(const struct problem_list *problems, FILE *file);

/* "2 errors, 1 warning" */
void problems_print_count(const struct problem_list *problems, FILE *file);

#endif
