// An action that fails in the way that its param `how` names.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anacostia_guest.h"

// Not inlined, so that the stack shows the functions of the source.
#define IN_THE_STACK __attribute__((noinline))

IN_THE_STACK static void check(int count) { assert(count == 1); }

IN_THE_STACK static void give_up(void) {
    fputs("this cannot go on\n", stderr);
    abort();
}

bool exports_anacostia_pipeline_action_run(Outcome *outcome, Error *error) {
    const char *how = param("how", "");
    if (strcmp(how, "assert") == 0) check((int)strlen(how));
    if (strcmp(how, "abort") == 0) give_up();
    // Special cases of JSON that the helper must handle.
    if (strcmp(how, "param") == 0) return done(outcome, "%s|%s|%s", param("text", ""), param("absent", "-"), param("number", "no text"));
    return fail(error, "invalid", "there is no way to break called \"%s\"", how);
}

bool exports_anacostia_pipeline_hooks_before_run(Error *error) {
    (void)error;
    return true;
}

bool exports_anacostia_pipeline_hooks_on_success(Outcome *outcome, Error *error) {
    (void)outcome, (void)error;
    return true;
}

bool exports_anacostia_pipeline_hooks_on_failure(Error *failure, Error *error) {
    (void)error;
    log_info("heard of a failure: %.*s", SHOW(failure->code));
    return true;
}

bool exports_anacostia_pipeline_hooks_after_run(Error *error) {
    (void)error;
    return true;
}
