/* libcurl 7.88 as Swift sees it: the header, and its variadic calls spelled once per kind of argument. No
 * logic. The type-checking macros are off: they only understand an option that is written out in the call.
 * epoll and eventfd are what its multi interface is driven with. */
#ifndef VIADUCT_CCURL_SHIM_H
#define VIADUCT_CCURL_SHIM_H
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

typedef size_t (*viaduct_curl_receiver)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode
viaduct_curl_set_long(CURL *easy, CURLoption option, long value)
{
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode
viaduct_curl_set_offset(CURL *easy, CURLoption option, curl_off_t value)
{
    return curl_easy_setopt(easy, option, value);
}

/* Text (which libcurl copies), a list or a context (which it does not). */
static inline CURLcode
viaduct_curl_set_pointer(CURL *easy, CURLoption option, const void *value)
{
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode
viaduct_curl_set_receiver(CURL *easy, CURLoption option, viaduct_curl_receiver value)
{
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode
viaduct_curl_set_seeker(CURL *easy, CURLoption option, curl_seek_callback value)
{
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode
viaduct_curl_set_prerequest(CURL *easy, CURLoption option, curl_prereq_callback value)
{
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode
viaduct_curl_get_long(CURL *easy, CURLINFO info, long *value)
{
    return curl_easy_getinfo(easy, info, value);
}

static inline CURLMcode
viaduct_curl_multi_set_long(CURLM *multi, CURLMoption option, long value)
{
    return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode
viaduct_curl_multi_set_pointer(CURLM *multi, CURLMoption option, void *value)
{
    return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode
viaduct_curl_multi_set_watcher(CURLM *multi, CURLMoption option, curl_socket_callback value)
{
    return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode
viaduct_curl_multi_set_timer(CURLM *multi, CURLMoption option, curl_multi_timer_callback value)
{
    return curl_multi_setopt(multi, option, value);
}
#endif
