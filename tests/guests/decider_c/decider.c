// Fires once `least` artifacts are new. With the param `of`, it asks for those of that resource,
// and with `fails` it fails.

#include "anacostia_guest.h"

static bool count(Text *resource, uint64_t *sum, Error *error) {
    anacostia_pipeline_trigger_context_new_artifacts_t fresh;
    if (!anacostia_pipeline_trigger_context_count_new(resource, &fresh, error)) return false;
    *sum += fresh.count;
    return true;
}

bool exports_anacostia_pipeline_decider_decide(Decision *decision, Error *error) {
    anacostia_pipeline_trigger_context_trigger_info_t info;
    anacostia_pipeline_trigger_context_info(&info);
    log_info("asked");
    if (*param("fails", "") != '\0') return fail(error, "sensor", "no idea");
    uint64_t sum = 0;
    Text of = text_of("%s", param("of", ""));
    if (of.len > 0 && !count(&of, &sum, error)) return false;
    for (size_t i = 0; i < info.resources.len; i++) {
        if (!count(&info.resources.ptr[i], &sum, error)) return false;
    }
    const double least = number_param("least", 1);
    if ((double)sum < least) return skip(decision, "%llu of %g", (unsigned long long)sum, least);
    return fire(decision, "%llu are enough", (unsigned long long)sum);
}
