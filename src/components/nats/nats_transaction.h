/* SPDX-License-Identifier: Apache-2.0
 *
 * The domain of NATS sources that read by position: position and state of a task are one commit in
 * its log. What goes to sinks is confirmed before it.
 */
#ifndef WEIR_NATS_TRANSACTION_H
#define WEIR_NATS_TRANSACTION_H

#include <weir/component.h>

extern const struct weir_domain_ops nats_transaction_ops;

#endif
