// Writes what clocks tell it, and with the param `random` what random numbers do.

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "anacostia_guest.h"

static void print_time(Output *output, clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    output_print(output, "%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
}

bool exports_anacostia_pipeline_action_run(Outcome *outcome, Error *error) {
    Output output;
    if (!output_open(&output, "out", text_of("c"), error)) return false;
    for (int reading = 0; reading < 2; reading++) {
        print_time(&output, CLOCK_REALTIME);
        print_time(&output, CLOCK_MONOTONIC);
    }
    output_print(&output, "%d %d\n", rand(), rand());
    if (number_param("random", 0) != 0) {
        unsigned long long number;
        getentropy(&number, sizeof number);
        output_print(&output, "%llu\n", number);
    }
    Artifact artifact;
    if (!output_finish(&output, &artifact)) return false;
    return done(outcome, "told");
}
