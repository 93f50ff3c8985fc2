/*
 * Has the Swift runtime's crash report begin with who called into libc when a test aborts. The report follows frame
 * pointers, and libc has none: of an abort it would show that one frame, not what was freed twice or by whom.
 */
#define _GNU_SOURCE
#include "CAbort.h"

#ifdef __x86_64__
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unwind.h>

enum { RBP = 6 }; /* System V ABI, AMD64 supplement, figure 3.36 */

/* The Swift runtime's. */
static struct sigaction reporter;

struct search {
    const void *libc;
    int in_libc;
    greg_t ip, frame, stack;
};

/* From the signal handler outwards: past libc, and there it ends. */
static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *argument)
{
    struct search *search = argument;
    Dl_info image;
    _Unwind_Ptr ip = _Unwind_GetIP(context);
    if (dladdr((void *)ip, &image) && image.dli_fbase == search->libc) {
        search->in_libc = 1;
        return _URC_NO_REASON;
    }
    if (!search->in_libc)
        return _URC_NO_REASON;
    search->ip = (greg_t)ip;
    search->frame = (greg_t)_Unwind_GetGR(context, RBP);
    search->stack = (greg_t)_Unwind_GetCFA(context);
    return _URC_END_OF_STACK;
}

static void report(int signal, siginfo_t *info, void *argument)
{
    ucontext_t *context = argument;
    gregset_t aborting;
    Dl_info libc;
    struct search search = {0};
    memcpy(aborting, context->uc_mcontext.gregs, sizeof aborting);
    if (dladdr((void *)sigaction, &libc)) {
        search.libc = libc.dli_fbase;
        _Unwind_Backtrace(visit, &search);
    }
    if (search.ip) {
        context->uc_mcontext.gregs[REG_RIP] = search.ip;
        context->uc_mcontext.gregs[REG_RBP] = search.frame;
        context->uc_mcontext.gregs[REG_RSP] = search.stack;
    }
    reporter.sa_sigaction(signal, info, context);
    memcpy(context->uc_mcontext.gregs, aborting, sizeof aborting);
}

__attribute__((constructor)) static void install(void)
{
    struct sigaction ours;
    if (sigaction(SIGABRT, NULL, &reporter) || !(reporter.sa_flags & SA_SIGINFO))
        return;
    ours = reporter;
    ours.sa_sigaction = report;
    sigaction(SIGABRT, &ours, NULL);
}
#endif
