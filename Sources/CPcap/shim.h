/* libpcap 1.10 as Swift sees it: the compiler of filters and their interpreter. Nothing is captured with it. */
#ifndef VIADUCT_CPCAP_SHIM_H
#define VIADUCT_CPCAP_SHIM_H
#include <pcap/pcap.h>
#endif
